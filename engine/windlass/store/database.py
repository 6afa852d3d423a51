"""The one way to PostgreSQL: a pool, and sessions for special use.

asyncpg was chosen by measurement (scripts/bench --drivers): a lane's four round trips cost a third to a half of the CPU
they cost through psycopg's asynchronous connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import asyncpg

from windlass.config import Settings
from windlass.dsn import redact
from windlass.errors import BootRefused, Defect, EngineError, Unavailable
from windlass.schema_name import search_path
from windlass.store.connect import Connector, SessionConnection
from windlass.store.driver import (
    DRIVER_ERRORS,
    Connection,
    Row,
    describe,
    is_connection_loss,
    is_read_only,
    may_lack_right,
    translate,
)
from windlass.store.queries import sql
from windlass.store.rights import explained, remedy_at_login
from windlass.store.server import Server
from windlass.store.session import Session
from windlass.store.trust import system_trust

#: Given as a session is opened, so that they win over what ALTER ROLE and ALTER DATABASE say; not
#: default_transaction_read_only, by which an operator may want to stop all writes.
SESSION_SETTINGS = {
    # Prepared statements with array parameters: planning each batch again costs more than a better plan would save.
    "plan_cache_mode": "force_generic_plan",
    # Frequent statements must use their indexes, even when planned while the table was still empty.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "timezone": "UTC",
    # A session that hangs in a transaction holds row locks of a lane; the server ends it.
    "idle_in_transaction_session_timeout": "15000",
    "idle_session_timeout": "0",
    # Row locks and their order are made for it (contract 5.3).
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A wait for a lock ends with its statement.
    "lock_timeout": "0",
}
TIME_OUTS = frozenset({"statement_timeout", "lock_timeout", "idle_session_timeout"})
"""In the DSN they are meant for this engine, and count; but not for migrations."""
STATEMENT_GRACE_S = 1.0
"""The client gives up first; the server ends what a client has left behind that is gone."""
CONNECT_SHARE = 0.9
"""Of the time that a caller waits for a session, so that there is an error which says what was tried."""
_HAS_TRANSACTION_TIMEOUT = 17


class _PooledConnection(SessionConnection):
    """Nothing to reset between users: the engine sets no session state on pooled connections."""

    def get_reset_query(self) -> str:
        return ""


def _cause(err: BaseException) -> str:
    if isinstance(err, ValueError) and not isinstance(err, OSError):
        # About a parameter of the connection: the driver quotes what it cannot read.
        return f"{type(err).__name__}: the driver cannot use a parameter of the connection"
    return describe(err)


class Database:
    """Owned by the composition root: `open` before use, `close` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.postgres_dsn
        self._connector = Connector(
            self._url, system_trust(self._url), CONNECT_SHARE * settings.database_timeout_s
        )
        self._pool: Any = None
        self.server: Server
        """Known since `open`."""
        self._renewed_s = -math.inf

    @property
    def schema(self) -> str | None:
        """The one schema that its sessions see; None: those of the role's search path."""
        return self._settings.schema

    async def open(self) -> None:
        """Raises BootRefused naming the cause when the database cannot be reached or is too old."""
        try:
            self._pool = await asyncpg.create_pool(
                connect=self._connector.open,
                min_size=self._settings.db_min_conns,
                max_size=self._settings.db_max_conns,
                connection_class=_PooledConnection,
                command_timeout=self._settings.database_timeout_s,
                max_inactive_connection_lifetime=300.0,
                server_settings=self._server_settings("engine"),
                init=_no_transaction_timeout,
            )
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
                self.server = Server.of(connection)
        except (Unavailable, ValueError, *DRIVER_ERRORS) as err:
            cause = err.__cause__ or err
            remedy = remedy_at_login(cause, self._url) or (
                "check WE_POSTGRES_DSN, and that PostgreSQL runs there and accepts this role"
            )
            told = f"cannot connect to the database {redact(self._url)} ({_cause(cause)})"
            raise BootRefused(f"{told}; {remedy}") from err
        self.server.refuse_if_unsupported(redact(self._url))

    def _server_settings(self, purpose: str) -> dict[str, str]:
        name = f"windlass/{self._settings.node_name}/{purpose}"
        ours = SESSION_SETTINGS | {"application_name": name[:63]}
        if self._settings.schema:
            ours["search_path"] = search_path(self._settings.schema)
        if purpose == "migrate":
            return ours | {"statement_timeout": "0"}
        limit_s = self._settings.database_timeout_s + STATEMENT_GRACE_S
        ours["statement_timeout"] = str(math.ceil(limit_s * 1000))
        in_dsn = dict(parse_qsl(self._url.partition("?")[2]))
        return {setting: value for setting, value in ours.items() if setting not in TIME_OUTS & in_dsn.keys()}

    async def session(self, purpose: str) -> Session:
        """A session outside the pool (LISTEN, advisory locks, migrations); the caller ends it. Raises Unavailable."""
        try:
            connection = await self._connector.open(
                command_timeout=None if purpose == "migrate" else self._settings.database_timeout_s,
                server_settings=self._server_settings(purpose),
            )
            try:
                await _no_transaction_timeout(connection)
            except BaseException:
                connection.terminate()
                raise
        except DRIVER_ERRORS as err:
            raise Unavailable(f"the database is unreachable ({describe(err)}); try again") from err
        return Session(connection)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A pooled connection. Raises Unavailable when none can be had in `database_timeout_s`."""
        try:
            connection = await self._acquire()
        except DRIVER_ERRORS as err:
            raise Unavailable(f"the database is unreachable ({describe(err)}); try again") from err
        opened_s = connection.opened_s
        try:
            yield connection
        except BaseException as err:
            if is_connection_loss(err) or not isinstance(err, Exception):
                # Do not hand on a connection whose protocol state is unknown.
                _terminate(connection)
            if (is_connection_loss(err) or is_read_only(err)) and opened_s >= self._renewed_s:
                # Those beside it lead to the same server, and would make one caller each wait as long.
                await self.renew_sessions()
            raise
        finally:
            with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
                await self._pool.release(connection)

    async def _acquire(self) -> Connection:
        connection = await self._pool.acquire(timeout=self._settings.database_timeout_s)
        if connection.is_spent:
            await self.renew_sessions()
            await self._pool.release(connection)
            connection = await self._pool.acquire(timeout=self._settings.database_timeout_s)
        return connection

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """BEGIN ... COMMIT on a pooled connection; driver errors arrive translated, and an error rolls back."""
        try:
            async with self.connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    yield connection
                except Exception:
                    await _roll_back(connection, transaction)
                    raise
                await transaction.commit()
        except EngineError:
            raise
        except Exception as err:
            raise await self.translated(err) from err

    async def read(self, text: str, *arguments: object) -> list[Row]:
        """As `fetch`, for what callers are told: refused on a standby, which shows the past."""
        return await self._fetch(text, arguments, check=_refuse_on_standby)

    async def fetch(self, text: str, *arguments: object) -> list[Row]:
        """One statement of its own; driver errors arrive translated."""
        return await self._fetch(text, arguments)

    async def _fetch(
        self,
        text: str,
        arguments: Sequence[object],
        *,
        check: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> list[Row]:
        try:
            async with self.connection() as connection:
                if check is not None:
                    await check(connection)
                rows: list[Row] = await connection.fetch(text, *arguments)
                return rows
        except EngineError:
            raise
        except Exception as err:
            raise await self.translated(err) from err

    async def translated(self, err: Exception) -> EngineError:
        """The engine's error for one of the driver; a missing right is looked for: PostgreSQL does not name it."""
        told = translate(err)
        if may_lack_right(err):
            with contextlib.suppress(EngineError):
                async with self.connection() as connection:
                    right = await explained(connection, self.schema)
                return Defect(right or told.reason)
        return told

    async def renew_sessions(self) -> None:
        """Every pooled session is replaced before its next use: those there are may lead to a demoted server."""
        self._renewed_s = time.monotonic()
        if self._pool is not None:
            await self._pool.expire_connections()

    def occupancy(self) -> dict[str, int]:
        if self._pool is None:
            return {"size": 0, "idle": 0, "max": self._settings.db_max_conns}
        return {
            "size": self._pool.get_size(),
            "idle": self._pool.get_idle_size(),
            "max": self._pool.get_max_size(),
        }

    async def close(self) -> None:
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 5.0)
            except TimeoutError:
                self._pool.terminate()
            self._pool = None


async def _no_transaction_timeout(connection: Connection) -> None:
    """Not among the settings given at the start: PostgreSQL before 17 would refuse the session."""
    if connection.get_server_version().major >= _HAS_TRANSACTION_TIMEOUT:
        await connection.execute(sql("session_transaction_timeout"))


async def _refuse_on_standby(connection: Connection) -> None:
    """Asks only where the session has said so: a pooler may repeat what was so when it was started."""
    if connection.is_on_standby and await connection.fetchval(sql("schema_is_on_standby")):
        raise Unavailable("the database is a standby (in recovery), which may show the past; try again")


async def _roll_back(connection: Connection, transaction: Any) -> None:
    """A failure here must not hide the error that the transaction failed with; the server rolls back all the same."""
    try:
        await transaction.rollback()
    except DRIVER_ERRORS:
        _terminate(connection)


def _terminate(connection: Connection) -> None:
    """One that the server has ended is no longer in the pool, and says so by an error."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()

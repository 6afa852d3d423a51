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

import asyncpg

from windlass.config import Settings
from windlass.dsn import redact
from windlass.errors import BootRefused, Defect, EngineError, Unavailable
from windlass.store.driver import (
    DRIVER_ERRORS,
    Connection,
    Row,
    begun,
    describe,
    failure_of,
    is_connection_loss,
    is_read_only,
    may_lack_right,
    terminate,
    translate,
)
from windlass.store.pooler import EngineConnection, SessionOpener, Way
from windlass.store.queries import sql
from windlass.store.rights import explained, remedy_at_login
from windlass.store.server import Server
from windlass.store.session import Session
from windlass.store.session_settings import application_name, session_settings
from windlass.store.sqlstate import Failure
from windlass.store.trust import system_trust

CONNECT_SHARE = 0.9
"""Of the time that a caller waits for a session, so that there is an error which says what was tried."""
SESSION_CLOSE_S = 1.0
CLOSE_S = 5.0
READS_BUSY = "every connection for reads is busy with one that the database is slow to answer; try again"
NO_SESSIONS = (
    "a pooler in transaction mode is between engine and database, which gives no session of its own; set "
    "WINDLASS_POSTGRES_SESSION_DSN to a way without it"
)


class NoSessions(Unavailable):
    """A session of the engine's own cannot be had: there is a pooler, and no other way was given."""


def _cause(err: BaseException) -> str:
    if isinstance(err, ValueError) and not isinstance(err, OSError):
        # About a parameter of the connection: the driver quotes what it cannot read.
        return f"{type(err).__name__}: the driver cannot use a parameter of the connection"
    return describe(err)


class Database:
    """Owned by the composition root: `open` before use, `close` at the end.

    `linked` is called when it is known what is between engine and database (`way`), and whenever that changes.
    """

    def __init__(self, settings: Settings, linked: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._linked = linked
        self._opener = self._opener_of(settings.postgres_dsn, settings.postgres_pooler)
        session_dsn = settings.postgres_session_dsn
        self._session_opener = self._opener_of(session_dsn, "session") if session_dsn else self._opener
        self._pool: Any = None
        self.server: Server
        """Known since `open`."""
        self._reads = asyncio.Semaphore(max(1, settings.db_max_conns // 2))
        self._renewed_s = -math.inf
        self._is_open = False

    def _opener_of(self, url: str, claim: str) -> SessionOpener:
        return SessionOpener(
            url,
            system_trust(url),
            connect_s=CONNECT_SHARE * self._settings.database_timeout_s,
            command_s=self._settings.database_timeout_s,
            claim=claim,
            changed=self._way_changed,
        )

    def _way_changed(self) -> None:
        if self._is_open:
            self._linked()

    @property
    def way(self) -> Way:
        """What is between engine and database, as the last session has shown."""
        return self._opener.way

    @property
    def has_sessions(self) -> bool:
        """Whether LISTEN and locks that outlast a transaction can be had."""
        return self._session_opener.way is not Way.TRANSACTION_POOLER

    @property
    def own_sessions(self) -> str | None:
        """With what the application_name of every session of a node of this name begins. None where the server does not
        show them: a pooler keeps its own, and what is not ASCII is not kept as it was written.
        """
        return (
            application_name(self._settings, "")
            if self.way is Way.DIRECT and self._settings.node_name.isascii()
            else None
        )

    @property
    def schema(self) -> str | None:
        """The one schema that its sessions see; None: those of the role's search path."""
        return self._settings.schema

    async def open(self) -> None:
        """Raises BootRefused naming the cause when the database cannot be reached or is not supported."""
        try:
            found = await self._opener.find(self._name("engine"))
            self._pool = await asyncpg.create_pool(
                min_size=self._settings.db_min_conns,
                max_size=self._settings.db_max_conns,
                connection_class=EngineConnection,
                max_inactive_connection_lifetime=300.0,
                connect=self._connect,
            )
            async with self.connection() as connection:
                identity = await connection.fetchrow(sql("session_server"))
                self.server = Server.of(connection)
        except (Unavailable, ValueError, *DRIVER_ERRORS) as err:
            raise _unreachable(self._opener.url, "WE_POSTGRES_DSN", err) from err
        self.server.refuse_if_unsupported(redact(self._opener.url))
        if found.is_shared and self._settings.postgres_pooler == "session":
            raise BootRefused(
                "WINDLASS_POSTGRES_POOLER is session, but the pooler gives each transaction another server session; "
                "set it to transaction, or to auto"
            )
        if self._session_opener is not self._opener:
            await self._check_sessions(identity)
        self._is_open = True
        self._linked()

    async def _check_sessions(self, identity: Row) -> None:
        """What is asked for a session of its own has to give one, in the same database."""
        url = self._session_opener.url
        try:
            found = await self._session_opener.find(self._name("session"))
            connection = await self._open_session("session")
            try:
                other = await connection.fetchrow(sql("session_server"))
            finally:
                await connection.close(timeout=SESSION_CLOSE_S)
        except (ValueError, *DRIVER_ERRORS) as err:
            raise _unreachable(url, "WINDLASS_POSTGRES_SESSION_DSN", err) from err
        if found.is_shared:
            raise BootRefused(
                f"WINDLASS_POSTGRES_SESSION_DSN leads through a pooler in transaction mode ({redact(url)}), which "
                "gives no session of its own; point it at PostgreSQL itself or at a pooler in session mode, or unset it"
            )
        if other != identity:
            raise BootRefused(
                f"WINDLASS_POSTGRES_SESSION_DSN leads to another database ({redact(url)}, {_server(other)}) than "
                f"WE_POSTGRES_DSN ({_server(identity)}); both must lead to the same"
            )

    def _name(self, purpose: str) -> str:
        return application_name(self._settings, purpose)

    async def _connect(self, *_: object, **__: object) -> EngineConnection:
        """A session of the pool. What the driver's pool hands on are defaults."""
        settings = session_settings(self._settings, self._opener.url, "engine")
        return await self._opener.open(self._name("engine"), settings)

    async def _open_session(self, purpose: str) -> EngineConnection:
        opener = self._session_opener
        options = {"command_timeout": None} if purpose == "migrate" else {}
        settings = session_settings(self._settings, opener.url, purpose)
        return await opener.open(self._name(purpose), settings, **options)

    async def session(self, purpose: str) -> Session:
        """A session outside the pool (LISTEN, advisory locks, migrations); the caller ends it. Raises Unavailable.

        For migrations it may be one that keeps nothing between two transactions; for anything else that is refused.
        """
        if not self.has_sessions and purpose != "migrate":
            raise NoSessions(NO_SESSIONS)
        try:
            connection = await self._open_session(purpose)
        except DRIVER_ERRORS as err:
            raise Unavailable(f"the database is unreachable ({describe(err)}); try again") from err
        if connection.is_shared and purpose != "migrate":
            connection.terminate()
            raise NoSessions(NO_SESSIONS)
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
                terminate(connection)
            if failure_of(err) is Failure.WRONG_SESSION and not is_read_only(err):
                self._opener.forget()
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
            async with self.connection() as connection, begun(connection):
                yield connection
        except EngineError:
            raise
        except Exception as err:
            raise await self.translated(err) from err

    async def read(self, text: str, *arguments: object) -> list[Row]:
        """As `fetch`, for what callers are told: refused on a standby, which shows the past.

        Reads have half of the pool at most, so that slow ones leave connections to claims, commands and repair.
        """
        if self._reads.locked():
            try:
                async with asyncio.timeout(self._settings.database_timeout_s):
                    await self._reads.acquire()
            except TimeoutError:
                raise Unavailable(READS_BUSY) from None
        else:
            await self._reads.acquire()
        try:
            return await self._fetch(text, arguments, check=_refuse_on_standby)
        finally:
            self._reads.release()

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
                if not connection.is_shared:
                    return await _rows(connection, text, arguments)
                async with begun(connection):
                    return await _rows(connection, text, arguments)
        except EngineError:
            raise
        except Exception as err:
            raise await self.translated(err) from err

    async def translated(self, err: Exception) -> EngineError:
        """The engine's error for one of the driver; a missing right is looked for: PostgreSQL does not name it."""
        told = translate(err)
        if may_lack_right(err):
            with contextlib.suppress(EngineError):
                async with self.connection() as connection, begun(connection):
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

    async def close(self, within_s: float = CLOSE_S) -> None:
        """Sessions that are still in use after `within_s` are cut."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), within_s)
            except TimeoutError:
                self._pool.terminate()
            self._pool = None


async def _rows(connection: Connection, text: str, arguments: Sequence[object]) -> list[Row]:
    rows: list[Row] = await connection.fetch(text, *arguments)
    return rows


def _unreachable(url: str, variable: str, err: BaseException) -> BootRefused:
    cause = err.__cause__ if isinstance(err, Unavailable) and err.__cause__ else err
    remedy = (
        remedy_at_login(cause, url)
        or f"check {variable}, and that PostgreSQL runs there and accepts this role"
    )
    return BootRefused(f"cannot connect to the database {redact(url)} ({_cause(cause)}); {remedy}")


async def _refuse_on_standby(connection: Connection) -> None:
    """Asks only where the session has said so: a pooler may repeat what was so when it was started."""
    if connection.is_on_standby and await connection.fetchval(sql("schema_is_on_standby")):
        raise Unavailable("the database is a standby (in recovery), which may show the past; try again")


def _server(row: Row) -> str:
    return f"database {row['database']!r} of a server started at {row['started_at']:%Y-%m-%dT%H:%M:%SZ}"

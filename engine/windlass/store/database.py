"""The one way to PostgreSQL: a pool, and sessions for special use.

asyncpg was chosen by measurement (scripts/bench --drivers): a lane's four round trips cost a third to a half of the CPU
they cost through psycopg's asynchronous connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from windlass.config import Settings
from windlass.dsn import redact
from windlass.errors import BootRefused, EngineError, Unavailable
from windlass.store.driver import DRIVER_ERRORS, Connection, Row, describe, is_connection_loss, translate
from windlass.store.session import Session
from windlass.store.trust import system_trust

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
}


class _PooledConnection(asyncpg.Connection):  # type: ignore[misc]
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
        self._tls = system_trust(self._url)
        self._pool: Any = None

    async def open(self) -> None:
        """Raises BootRefused naming the cause when the database cannot be reached."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                ssl=self._tls,
                min_size=self._settings.db_min_conns,
                max_size=self._settings.db_max_conns,
                connection_class=_PooledConnection,
                command_timeout=self._settings.database_timeout_s,
                timeout=self._settings.database_timeout_s,
                max_inactive_connection_lifetime=300.0,
                server_settings=self._server_settings("engine"),
            )
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except (Unavailable, ValueError, *DRIVER_ERRORS) as err:
            raise BootRefused(
                f"cannot connect to the database {redact(self._url)} ({_cause(err.__cause__ or err)}); check "
                "WE_POSTGRES_DSN, and that PostgreSQL runs there and accepts this role"
            ) from err

    def _server_settings(self, purpose: str) -> dict[str, str]:
        name = f"windlass/{self._settings.node_name}/{purpose}"
        return SESSION_SETTINGS | {"application_name": name[:63]}

    async def session(self, purpose: str) -> Session:
        """A session outside the pool (LISTEN, advisory locks, migrations); the caller ends it. Raises Unavailable."""
        try:
            connection = await asyncpg.connect(
                self._url,
                ssl=self._tls,
                timeout=self._settings.database_timeout_s,
                command_timeout=None if purpose == "migrate" else self._settings.database_timeout_s,
                server_settings=self._server_settings(purpose),
            )
        except DRIVER_ERRORS as err:
            raise Unavailable(f"the database is unreachable ({describe(err)}); try again") from err
        return Session(connection)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A pooled connection. Raises Unavailable when none can be had in `database_timeout_s`."""
        try:
            connection = await self._pool.acquire(timeout=self._settings.database_timeout_s)
        except DRIVER_ERRORS as err:
            raise Unavailable(f"the database is unreachable ({describe(err)}); try again") from err
        try:
            yield connection
        except BaseException as err:
            if is_connection_loss(err) or not isinstance(err, Exception):
                # Do not hand on a connection whose protocol state is unknown.
                _terminate(connection)
            raise
        finally:
            with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
                await self._pool.release(connection)

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
            raise translate(err) from err

    async def fetch(self, text: str, *arguments: object) -> list[Row]:
        """One statement of its own; driver errors arrive translated."""
        try:
            async with self.connection() as connection:
                rows: list[Row] = await connection.fetch(text, *arguments)
                return rows
        except EngineError:
            raise
        except Exception as err:
            raise translate(err) from err

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

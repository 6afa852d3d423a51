"""Translates the driver's errors. No error, row or connection of the driver leaves `store/`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg

from windlass.dsn import redact
from windlass.errors import BadRequest, BusinessKeyInUse, Defect, EngineError, Unavailable
from windlass.store.shape import BUSINESS_KEY_INDEX
from windlass.store.sqlstate import LOCK_NOT_AVAILABLE, READ_ONLY, Failure, classify, remedy

Connection: TypeAlias = Any
"""A pooler.EngineConnection, or the pool's proxy of one; the driver ships no types."""
Row: TypeAlias = Any
"""An asyncpg.Record: values by column name."""

#: What the driver raises when the database or the connection to it is the cause. InternalClientError: the driver lost
#: track of the protocol, which happens when a server crashes between two messages.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
)


@contextlib.asynccontextmanager
async def begun(connection: Connection) -> AsyncIterator[None]:
    """BEGIN ... COMMIT with the engine's settings; an error rolls back, and is raised as it is."""
    await connection.execute(connection.begin_text)
    try:
        yield
    except Exception:
        # A failure here must not hide that error; the server rolls back all the same.
        try:
            await connection.execute("ROLLBACK")
        except DRIVER_ERRORS:
            terminate(connection)
        raise
    await connection.execute("COMMIT")


def terminate(connection: Connection) -> None:
    """One that the server has ended is no longer in the pool, and says so by an error."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def failure_of(err: BaseException) -> Failure:
    """What an error means; of the database's own errors `sqlstate.py` decides."""
    if isinstance(err, asyncpg.InvalidCachedStatementError):
        # A migration changed a table under a prepared statement; the driver has dropped the statement by now.
        return Failure.TRANSIENT
    if isinstance(err, asyncpg.PostgresError):
        return classify(_state(err))
    return Failure.CONNECTION_LOST if isinstance(err, DRIVER_ERRORS) else Failure.DEFECT


def is_connection_loss(err: BaseException) -> bool:
    """Whether its connection is of no use any more."""
    return failure_of(err) in {Failure.CONNECTION_LOST, Failure.WRONG_SESSION}


def is_read_only(err: BaseException) -> bool:
    """Whether a write was refused because the server, or the session, takes none."""
    return _state(err) == READ_ONLY


def may_lack_right(err: BaseException) -> bool:
    """Whether a missing right may be the cause; the tables of a schema that the role may not use seem not to exist."""
    return _state(err) in {"42501", "42P01"}


def is_lock_timeout(err: BaseException) -> bool:
    """Whether the session had waited for a lock as long as it may."""
    return _state(err) == LOCK_NOT_AVAILABLE


def translate(err: BaseException) -> EngineError:
    """The engine's error for one of the driver; the caller keeps the cause with `raise ... from`."""
    if isinstance(err, EngineError):
        return err
    if isinstance(err, asyncpg.UniqueViolationError) and err.constraint_name == BUSINESS_KEY_INDEX:
        return BusinessKeyInUse("business key already in use by an in-flight instance of this definition")
    if is_read_only(err):
        return Unavailable(f"the database takes no writes ({describe(err)}); try again")
    match failure_of(err):
        case Failure.CONNECTION_LOST | Failure.WRONG_SESSION:
            return Unavailable(f"the database is unreachable ({describe(err)}); try again")
        case Failure.TRANSIENT:
            return Unavailable(f"the database could not carry this out now ({describe(err)}); try again")
        case Failure.CALLERS_DATA:
            return BadRequest(f"the database cannot take this value: {str(err).splitlines()[0]}")
        case Failure.MISSING_RIGHT:
            return Defect(
                f"the role of WE_POSTGRES_DSN may not do this ({describe(err)}); grant it the right"
            )
        case Failure.DEFECT:
            return Defect(f"internal error: {describe(err)}")


def remedy_of(err: BaseException) -> str:
    """What an operator can do about it; empty when only the error's text tells."""
    if isinstance(err, asyncpg.PostgresError):
        return remedy(_state(err))
    return "check that the database is reachable" if isinstance(err, DRIVER_ERRORS) else ""


def _state(err: BaseException) -> str:
    return str(getattr(err, "sqlstate", None) or "")


def describe(err: BaseException) -> str:
    """Kind and first line of an error, without passwords."""
    return redact(f"{type(err).__name__}: {err}".splitlines()[0][:300])

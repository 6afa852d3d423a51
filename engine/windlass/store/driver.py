"""Translates the driver's errors. No error, row or connection of the driver leaves `store/`."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import asyncpg

from windlass.dsn import redact
from windlass.errors import BadRequest, Defect, EngineError, Unavailable

Connection: TypeAlias = Any
"""An asyncpg.Connection; the driver ships no types."""
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

#: The connection is lost or must be dropped: the server shuts down, or has become a standby.
_CONNECTION_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25006", "53300"})


def is_connection_loss(err: BaseException) -> bool:
    if isinstance(err, asyncpg.PostgresError):
        state = str(err.sqlstate or "")
        return state in _CONNECTION_STATES or state.startswith("08")
    return isinstance(err, DRIVER_ERRORS)


def translate(err: BaseException) -> EngineError:
    """The engine's error for one of the driver; the caller keeps the cause with `raise ... from`."""
    if isinstance(err, EngineError):
        return err
    if is_connection_loss(err):
        return Unavailable(f"the database is unreachable ({describe(err)}); try again")
    if isinstance(err, (asyncpg.DataError, asyncpg.ProgramLimitExceededError)):
        return BadRequest(f"the database cannot take this value: {str(err).splitlines()[0]}")
    return Defect(f"internal error: {describe(err)}")


def describe(err: BaseException) -> str:
    """Kind and first line of an error, without passwords."""
    return redact(f"{type(err).__name__}: {err}".splitlines()[0][:300])

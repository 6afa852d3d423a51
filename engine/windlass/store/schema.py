"""The version of the schema, for the readiness check: reads only, nothing is created."""

from __future__ import annotations

from typing import NamedTuple

from windlass.errors import BootRefused
from windlass.store.database import Database
from windlass.store.ledger import Found, judge, look, newest
from windlass.store.migrate import read_only_reason
from windlass.store.queries import sql


class SchemaState(NamedTuple):
    version: int
    """Number of our newest migration applied, 0 on a new database."""
    needed: int
    """The last migration of this release."""
    is_current: bool
    """True also for a newer schema than this release's: the previous release runs on the new schema."""
    refused: str
    """Why this is no schema for this engine and what to do about it; empty when it is."""
    read_only: str
    """Why the database takes no writes and what to do about it; empty when it takes them."""


class Schema:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes_stopped: str | None = None

    async def state(self) -> SchemaState:
        """Raises EngineError, Unavailable when the database is away.

        Sessions that take no writes are replaced, so that the next look, and every call, meets the server as it is
        then.
        """
        found = await self._look()
        writes_stopped = found.state["writes_stopped"]
        if writes_stopped != self._writes_stopped:
            # The settings reach new sessions only; the one that was asked may be older.
            self._writes_stopped = writes_stopped
            await self._database.renew_sessions()
            found = await self._look()
        read_only = read_only_reason(found.state)
        if read_only:
            await self._database.renew_sessions()
        try:
            standing = judge(found)
        except BootRefused as err:
            return SchemaState(0, newest(), is_current=False, refused=str(err), read_only=read_only)
        return SchemaState(standing.own, newest(), standing.is_current, refused="", read_only=read_only)

    async def _look(self) -> Found:
        async with self._database.transaction() as connection:
            await connection.execute(sql("schema_snapshot"))
            return await look(connection.fetchrow)

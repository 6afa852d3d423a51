"""The version of the schema, for the readiness check: reads only, nothing is created."""

from __future__ import annotations

from typing import NamedTuple

from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.migrate import newest, read_only_reason
from windlass.store.queries import sql


class SchemaState(NamedTuple):
    version: int
    """Number of the last migration applied, 0 on a new database."""
    needed: int
    """The last migration of this release."""
    read_only: str
    """Why the database takes no writes and what to do about it; empty when it takes them."""

    @property
    def is_current(self) -> bool:
        """True also for a newer schema than this release's: the previous release runs on the new schema."""
        return self.version >= self.needed


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
        if found["writes_stopped"] != self._writes_stopped:
            # The settings reach new sessions only; the one that was asked may be older.
            self._writes_stopped = found["writes_stopped"]
            await self._database.renew_sessions()
            found = await self._look()
        read_only = read_only_reason(found)
        if read_only:
            await self._database.renew_sessions()
        version = 0
        if found["is_there"]:
            (row,) = await self._database.fetch(sql("schema_version"))
            version = row["version"]
        return SchemaState(version, newest(), read_only)

    async def _look(self) -> Row:
        (row,) = await self._database.fetch(sql("schema_state"))
        return row

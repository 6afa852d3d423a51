"""The version of the schema, for the readiness check: reads only, nothing is created."""

from __future__ import annotations

from typing import NamedTuple

from windlass.store.database import Database
from windlass.store.migrate import newest
from windlass.store.queries import sql


class SchemaState(NamedTuple):
    version: int
    """Number of the last migration applied, 0 on a new database."""
    needed: int
    """The last migration of this release."""

    @property
    def is_current(self) -> bool:
        """True also for a newer schema than this release's: the previous release runs on the new schema."""
        return self.version >= self.needed


class Schema:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> SchemaState:
        """Raises EngineError, Unavailable when the database is away."""
        (table,) = await self._database.fetch(sql("schema_has_table"))
        version = 0
        if table["is_there"]:
            (row,) = await self._database.fetch(sql("schema_version"))
            version = row["version"]
        return SchemaState(version, newest())

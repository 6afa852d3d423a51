"""How far the schema is, as readiness asks: reads only, nothing is created."""

from __future__ import annotations

from typing import NamedTuple

from windlass.store.database import Database
from windlass.store.migrate import newest
from windlass.store.queries import sql


class SchemaState(NamedTuple):
    version: int
    """Of the last migration applied, 0 on a fresh database."""
    needed: int
    """The last migration of this release."""

    @property
    def is_current(self) -> bool:
        """Also when the database is ahead: the previous release runs on the new schema."""
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

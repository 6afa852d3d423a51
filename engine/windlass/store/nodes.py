"""The engine's nodes that share this database, each a row that its heartbeat keeps fresh on the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from windlass.store.database import Database
from windlass.store.queries import sql


class NodeIdentity(NamedTuple):
    """What a node writes about itself."""

    id: str
    role: str
    version: str
    dispatch_mode: str


class NodeRecord(NamedTuple):
    """A node as the others see it; instants are the database's."""

    id: str
    role: str
    version: str
    dispatch_mode: str
    started_at: datetime
    last_seen_at: datetime
    alive: bool


class Beat(NamedTuple):
    """When this process started, and whether another of the same name has written the row of late."""

    started_at: datetime
    is_shared: bool


class Nodes:
    """Every method raises EngineError, Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, node: NodeIdentity, started_at: datetime | None, alive_s: float) -> Beat:
        """Writes that the node is alive, and removes nodes that have not done so for an hour.

        `started_at` is what the first beat answered, None at the first.
        """
        (row,) = await self._database.fetch(sql("node_beat"), *node, started_at, alive_s)
        return Beat(*row)

    async def all(self, alive_s: float) -> Sequence[NodeRecord]:
        """Every known node, in order of ids; alive is one that was seen within `alive_s`."""
        return [NodeRecord(*row) for row in await self._database.fetch(sql("node_list"), alive_s)]

    async def remove(self, node_id: str, started_at: datetime) -> None:
        """Leaves the row alone if another process of that name has written it since."""
        await self._database.fetch(sql("node_leave"), node_id, started_at)

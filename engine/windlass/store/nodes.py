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


class Holder(NamedTuple):
    """The process that wrote the row of a name last."""

    role: str
    version: str
    started_at: datetime
    last_seen_at: datetime
    age_s: float
    """Since `last_seen_at`, on the database's clock."""
    is_gone: bool
    """It has certainly ended; False says nothing."""


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

    async def holder(self, name: str) -> Holder | None:
        """Who has the name; None when nobody has."""
        rows = await self._database.fetch(sql("node_holder"), name, self._database.own_sessions)
        return Holder(*rows[0]) if rows else None

    async def claim(self, node: NodeIdentity, seen: Holder | None) -> datetime | None:
        """Takes the name if `seen` is still what its row says; returns when this process started, None if it is not."""
        rows = await self._database.fetch(sql("node_claim"), *node, seen.last_seen_at if seen else None)
        return rows[0]["started_at"] if rows else None

    async def all(self, alive_s: float) -> Sequence[NodeRecord]:
        """Every known node, in order of ids; alive is one that was seen within `alive_s`."""
        return [NodeRecord(*row) for row in await self._database.fetch(sql("node_list"), alive_s)]

    async def remove(self, node_id: str, started_at: datetime) -> None:
        """Leaves the row alone if another process of that name has written it since."""
        await self._database.fetch(sql("node_leave"), node_id, started_at)

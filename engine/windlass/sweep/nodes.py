"""Keeps this node's row fresh and counts its neighbours, all on the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from windlass.store.database import Database, Row
from windlass.store.queries import sql

ALIVE_INTERVALS = 3.0
"""A node not seen for this many heartbeat intervals is not counted."""


class NodeHeartbeat:
    def __init__(
        self,
        database: Database,
        *,
        node: str,
        role: str,
        version: str,
        dispatch_mode: str,
        interval_s: float,
        counted: Callable[[int], None],
    ) -> None:
        self._database = database
        self._identity = (node, role, version, dispatch_mode)
        self._alive_s = interval_s * ALIVE_INTERVALS
        self._counted = counted
        self._joined = False

    async def beat(self) -> None:
        await self._database.fetch(sql("node_beat"), *self._identity, not self._joined)
        self._joined = True
        self._counted(sum(row["alive"] for row in await self.nodes()))

    async def nodes(self) -> Sequence[Row]:
        return await self._database.fetch(sql("node_list"), self._alive_s)

    async def leave(self) -> None:
        await self._database.fetch(sql("node_leave"), self._identity[0])

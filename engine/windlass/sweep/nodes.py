"""Keeps this node's row fresh and counts its neighbours, all on the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from windlass.store.nodes import NodeIdentity, NodeRecord, Nodes

ALIVE_INTERVALS = 3.0
"""A node not seen for this many heartbeat intervals is not counted."""


class NodeHeartbeat:
    def __init__(
        self,
        nodes: Nodes,
        identity: NodeIdentity,
        *,
        interval_s: float,
        counted: Callable[[int], None],
    ) -> None:
        self._nodes = nodes
        self._identity = identity
        self._alive_s = interval_s * ALIVE_INTERVALS
        self._counted = counted
        self._joined = False

    async def beat(self) -> None:
        await self._nodes.beat(self._identity, has_just_started=not self._joined)
        self._joined = True
        self._counted(sum(node.alive for node in await self.nodes()))

    async def nodes(self) -> Sequence[NodeRecord]:
        return await self._nodes.all(self._alive_s)

    async def leave(self) -> None:
        await self._nodes.remove(self._identity.id)

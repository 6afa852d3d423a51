"""Keeps this node's row fresh and counts its neighbours, all on the database's clock.

A row belongs to a name. Two processes of one name take turns to write it, and each notices by the other's `started_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

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
        name_shared: Callable[[str], None],
    ) -> None:
        """`name_shared` gets the name when another live process is found to have it too."""
        self._nodes = nodes
        self._identity = identity
        self._alive_s = interval_s * ALIVE_INTERVALS
        self._counted = counted
        self._name_shared = name_shared
        self._started_at: datetime | None = None
        #: beats for which another process of this name is still counted
        self._shared_beats = 0
        self._is_shared = False

    async def beat(self) -> None:
        is_first = self._started_at is None
        self._started_at, is_shared = await self._nodes.beat(self._identity, self._started_at, self._alive_s)
        if not is_shared:
            self._shared_beats = max(0, self._shared_beats - 1)
            self._is_shared = self._is_shared and self._shared_beats > 0
        else:
            self._shared_beats = round(ALIVE_INTERVALS)
            # At the first beat it may be the row of a predecessor that was killed.
            if not is_first and not self._is_shared:
                self._is_shared = True
                self._name_shared(self._identity.id)
        self._counted(sum(node.alive for node in await self.nodes()) + (self._shared_beats > 0))

    async def nodes(self) -> Sequence[NodeRecord]:
        return await self._nodes.all(self._alive_s)

    async def leave(self) -> None:
        if self._started_at is not None and not self._is_shared:
            await self._nodes.remove(self._identity.id, self._started_at)

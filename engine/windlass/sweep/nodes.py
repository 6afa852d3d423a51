"""Keeps this node's row fresh and counts its neighbours, all on the database's clock.

A row belongs to a name, and a name that was given to a node to one process: a boot that finds it in use is refused. Two
processes that have one name all the same take turns to write its row, and each notices by the other's `started_at`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from windlass.errors import BootRefused
from windlass.store.nodes import Holder, NodeIdentity, NodeRecord, Nodes
from windlass.wire import format_time

ALIVE_INTERVALS = 3.0
"""A node not seen for this many heartbeat intervals is not counted."""
SILENCE_INTERVALS, SILENCE_S = 1.25, 1.0
"""A live process writes its row once in an interval, a little later under load."""
LOOK_INTERVAL_S = 0.2


class NodeHeartbeat:
    def __init__(
        self,
        nodes: Nodes,
        identity: NodeIdentity,
        *,
        interval_s: float,
        counted: Callable[[int], None],
        name_shared: Callable[[str], None],
        name_held: Callable[[Holder, float], None],
    ) -> None:
        """`name_shared` gets the name when another live process is found to have it too; `name_held` who had it at the
        boot, and for how many seconds it is to be watched at most.
        """
        self._nodes = nodes
        self._identity = identity
        self._alive_s = interval_s * ALIVE_INTERVALS
        self._silence_s = interval_s * SILENCE_INTERVALS + SILENCE_S
        self._counted = counted
        self._name_shared = name_shared
        self._name_held = name_held
        self._started_at: datetime | None = None
        #: beats for which another process of this name is still counted
        self._shared_beats = 0
        self._is_shared = False

    async def take_name(self) -> None:
        """Waits until it is certain that no other process has the name. Raises BootRefused when one has it, and
        EngineError when the database does not tell.
        """
        name, is_first, seen = self._identity.id, True, None
        while True:
            holder = await self._nodes.holder(name)
            if holder is None or holder.is_gone or holder.age_s > self._silence_s:
                self._started_at = await self._nodes.claim(self._identity, holder)
                if self._started_at is not None:
                    return
            elif not is_first and (seen is None or holder.last_seen_at > seen.last_seen_at):
                raise BootRefused(
                    f"another process has the name {name!r}: role {holder.role}, version {holder.version}, started at "
                    f"{format_time(holder.started_at)}, last seen at {format_time(holder.last_seen_at)}; give each "
                    "process a WINDLASS_SERVER_ID (or WINDLASS_NODE_NAME) of its own, or stop the other one first"
                )
            elif is_first:
                self._name_held(holder, self._silence_s - holder.age_s)
            is_first, seen = False, holder
            await asyncio.sleep(LOOK_INTERVAL_S)

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

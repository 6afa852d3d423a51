"""Writes events for waiting jobs that never had one: those created in polling mode (contract 6.7).

The leader searches for them when it becomes the leader, every `INTERVAL_S` while nodes in polling mode share the
database, once more after the last of these has gone, and every `LOOK_ANYWAY_S` in any case. While there are such
nodes, their pollers are given the time of a redelivery to claim a job first.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from windlass.dispatch.relay import Lead
from windlass.store.nodes import NodeRecord
from windlass.store.outbox import Outbox, Page

INTERVAL_S = 1.0
LOOK_ANYWAY_S = 60.0
"""For nodes that came and went between two searches, and for engines that have no row in the table of nodes."""


class AdoptionSweep:
    def __init__(
        self,
        outbox: Outbox,
        lead: Lead,
        nodes: Callable[[], Awaitable[Sequence[NodeRecord]]],
        *,
        patience_s: float,
        adopted: Callable[[int], None],
    ) -> None:
        self._outbox = outbox
        self._lead = lead
        self._nodes = nodes
        self._patience_s = patience_s
        self._adopted = adopted
        self._epoch = 0
        self._had_pollers = False
        self._looked_at_s = float("-inf")

    async def sweep(self) -> None:
        if not self._lead.leads():
            return
        epoch = self._lead.epoch
        pollers = any(node.alive and node.dispatch_mode == "polling" for node in await self._nodes())
        is_due = (
            epoch != self._epoch
            or pollers
            or self._had_pollers
            or time.monotonic() - self._looked_at_s >= LOOK_ANYWAY_S
        )
        if is_due:
            await self._look_through_all(self._patience_s if pollers else 0.0)
            self._epoch, self._had_pollers, self._looked_at_s = epoch, pollers, time.monotonic()

    async def _look_through_all(self, waiting_s: float) -> None:
        count = 0
        page: Page | None = Page()
        while page is not None and self._lead.leads():
            page, written = await self._outbox.adopt(page, waiting_s)
            count += written
        if count:
            self._adopted(count)

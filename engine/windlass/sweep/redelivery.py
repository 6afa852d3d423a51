"""Dispatches again what the broker was given and nobody completed in time (contract 6.7).

Any number of nodes may sweep.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.store.outbox import EVENTS_MAX, Outbox

POSTPONE_S = 5.0
"""When a job that cannot be judged now (a poller holds it, its event still waits) is looked at again."""


class RedeliverySweep:
    def __init__(self, outbox: Outbox, *, redelivered: Callable[[int], None]) -> None:
        self._outbox = outbox
        self._redelivered = redelivered

    async def sweep(self) -> None:
        """Until none is due. The new event has a new dedup id, for workers drop a repeated one."""
        count = 0
        while True:
            looked_at, written = await self._outbox.redeliver(POSTPONE_S)
            count += written
            if looked_at < EVENTS_MAX:
                break
        if count:
            self._redelivered(count)

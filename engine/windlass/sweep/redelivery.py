"""Dispatches jobs again that were published and not completed in time (contract 6.7).

Any number of nodes may sweep.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.store.outbox import EVENTS_MAX, Outbox

POSTPONE_S = 5.0
"""After this time a job that must not be dispatched now (a poller holds it, its event waits) is looked at again."""


class RedeliverySweep:
    def __init__(self, outbox: Outbox, *, redelivered: Callable[[int], None]) -> None:
        self._outbox = outbox
        self._redelivered = redelivered

    async def sweep(self) -> int:
        """Repeats until none is due, and returns how many were. The new event has a new dedup id, since workers drop
        repeated ones.
        """
        count = 0
        while True:
            looked_at, written = await self._outbox.redeliver(POSTPONE_S)
            count += written
            if looked_at < EVENTS_MAX:
                break
        if count:
            self._redelivered(count)
        return count

"""Fires due boundary timers (contract 5.6).

Each is decided under its instance's lock, in the transaction of its effect: a crash loses none, and two nodes that
find the same timer fire it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from windlass.commands import FireTimer
from windlass.store.timers import Timers

BATCH_ROWS_MAX = 500


class TimerSweep:
    def __init__(
        self,
        timers: Timers,
        execute: Callable[[FireTimer], Awaitable[object]],
        *,
        fired: Callable[[FireTimer], None],
        failed: Callable[[FireTimer, BaseException], None],
    ) -> None:
        self._timers = timers
        self._execute = execute
        self._fired = fired
        self._failed = failed

    async def sweep(self) -> int:
        """Returns how many were due."""
        count = 0
        while True:
            timers = await self._timers.due(BATCH_ROWS_MAX)
            outcomes = await asyncio.gather(*map(self._execute, timers), return_exceptions=True)
            count += len(timers)
            failures = 0
            for timer, outcome in zip(timers, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    failures += 1
                    self._failed(timer, outcome)
                else:
                    self._fired(timer)
            if len(timers) < BATCH_ROWS_MAX or failures:
                return count

"""Removes the rows of workers that ended without saying so; who is alive does not depend on it."""

from __future__ import annotations

from windlass.store.workers import Workers

INTERVAL_S = 60.0
ROWS_MAX = 1000
"""In one statement."""


class WorkerSweep:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def sweep(self) -> None:
        while await self._workers.remove_stale(ROWS_MAX) == ROWS_MAX:
            pass

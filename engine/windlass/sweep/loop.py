"""What all sweeps have in common: a task that runs a function at intervals and survives its failures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

Body = Callable[[], Awaitable[int | None]]
"""Returns how much it has found to do, if it knows."""


class Sweep:
    """Runs `body` every `interval_s`, first after one interval; a failure is reported and does not end the loop."""

    def __init__(
        self,
        name: str,
        interval_s: float,
        body: Body,
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.name = name
        self._interval_s = interval_s
        self._body = body
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def wrap(self, around: Callable[[str, Body], Body]) -> None:
        """Runs `around(name, body)` from now on; before `start`."""
        self._body = around(self.name, self._body)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"sweep-{self.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        # Replicas that boot together would otherwise always sweep at the same time.
        await asyncio.sleep(self._interval_s * random.uniform(0.9, 1.0))
        while True:
            try:
                await self._body()
            except Exception as err:
                self._failed(self.name, err)
            await asyncio.sleep(self._interval_s)

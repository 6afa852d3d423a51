"""What a kubelet does for a container: start it again when it ends, kill it when its liveness probe fails."""

from __future__ import annotations

import asyncio

import aiohttp

from seatrial.cluster.probe import failure
from seatrial.cluster.process import Process
from seatrial.render import Probe

#: the first restart is immediate; a kubelet then waits 10 s, doubled up to 300 s, for which a drill has no time
BACK_OFF_FIRST_S = 1.0
BACK_OFF_MAX_S = 10.0


class Kubelet:
    """Restarts one process from `watch` to `unwatch`; `restarts` counts how often."""

    def __init__(self, process: Process, liveness: Probe | None, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._liveness = liveness
        self._session = session
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    def watch(self) -> None:
        """Begins to watch; nothing happens when it does already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def unwatch(self) -> None:
        """Leaves the process as it is; raises what ended the watch, if anything did."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _run(self) -> None:
        back_off_s = 0.0
        while True:
            await self._until_gone()
            await asyncio.sleep(back_off_s)
            back_off_s = min(max(BACK_OFF_FIRST_S, back_off_s * 2), BACK_OFF_MAX_S)
            if not self._process.running:
                self._process.start()
                self.restarts += 1

    async def _until_gone(self) -> None:
        """Returns when the process is gone, by itself or because its liveness probe failed too often."""
        waiting = asyncio.ensure_future(self._process.wait())
        failures = 0
        try:
            if self._liveness is None:
                await waiting
                return
            await asyncio.wait([waiting], timeout=self._liveness.initial_delay_s)
            while not waiting.done():
                failures = failures + 1 if await failure(self._session, self._liveness) else 0
                if failures >= self._liveness.failure_threshold:
                    await self._process.kill()
                    return
                await asyncio.wait([waiting], timeout=self._liveness.period_s)
        finally:
            waiting.cancel()

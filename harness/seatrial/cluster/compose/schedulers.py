"""Schedulers: the services of the file that only schedule; the file always runs one."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Schedulers
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.processes import ComposeKill


class ComposeSchedulers(Schedulers):
    def __init__(self, deployment: Deployment, processes: ComposeKill) -> None:
        self._deployment = deployment
        self._processes = processes
        self._ended: set[str] = set()

    def names(self) -> Sequence[str]:
        return self._deployment.schedulers

    def running(self, scheduler: str) -> bool:
        """As its container was seen after what was last done to it."""
        return self._named(scheduler) not in self._ended

    def metrics_url(self, scheduler: str) -> str | None:
        return self._deployment.node(self._named(scheduler)).metrics_url

    async def kill(self, scheduler: str) -> None:
        await self._processes.keep_down(self._named(scheduler))
        await self._look(scheduler)

    async def stop(self, scheduler: str) -> int:
        code = await self._processes.stop(self._named(scheduler))
        await self._look(scheduler)
        return code

    async def start(self, scheduler: str, *, wait_ready: bool = True) -> None:
        await self._processes.start(self._named(scheduler), wait_ready=wait_ready)
        await self._look(scheduler)

    async def _look(self, scheduler: str) -> None:
        if (await self._deployment.container(scheduler)).is_running:
            self._ended.discard(scheduler)
        else:
            self._ended.add(scheduler)

    def _named(self, name: str) -> str:
        if name in self.names():
            return name
        there = ", ".join(self.names()) or "none: the cluster is not up"
        raise ClusterError(f"no scheduler {name!r}; there are {there}")

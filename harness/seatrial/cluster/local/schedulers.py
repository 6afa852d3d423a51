"""Schedulers: the nodes that the chart's other Deployment runs, as processes."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Kill, Schedulers
from seatrial.cluster.local.replicas import LocalReplica, Replicas


class LocalSchedulers(Schedulers):
    def __init__(self, replicas: Replicas, processes: Kill) -> None:
        self._replicas = replicas
        self._processes = processes

    def names(self) -> Sequence[str]:
        return [each.name for each in self._replicas.schedulers()]

    def running(self, scheduler: str) -> bool:
        return self._named(scheduler).process.running

    def metrics_url(self, scheduler: str) -> str | None:
        return self._named(scheduler).address.metrics_url

    async def kill(self, scheduler: str) -> None:
        await self._processes.kill(self._named(scheduler).name)

    async def stop(self, scheduler: str) -> int:
        return await self._processes.stop(self._named(scheduler).name)

    async def start(self, scheduler: str, *, wait_ready: bool = True) -> None:
        await self._processes.start(self._named(scheduler).name, wait_ready=wait_ready)

    def _named(self, name: str) -> LocalReplica:
        for found in self._replicas.schedulers():
            if found.name == name:
                return found
        there = ", ".join(self.names()) or "none: set scheduler.replicas in the drill's values"
        raise ClusterError(f"no scheduler {name!r}; there are {there}")

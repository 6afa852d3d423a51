"""Reconfigure and RollingReconfigure: replicas that come back with other chart values."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import Kill, Reconfigure, RollingReconfigure
from seatrial.cluster.local.launch import Launcher
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.values import merge


class LocalReconfigure(Reconfigure, RollingReconfigure):
    def __init__(self, spec: ClusterSpec, replicas: Replicas, launcher: Launcher, processes: Kill) -> None:
        self._spec = spec
        self._replicas = replicas
        self._launcher = launcher
        self._processes = processes

    async def reconfigure(
        self, replica: str, values: Mapping[str, object], *, wait_ready: bool = True
    ) -> None:
        await self._processes.stop(replica)
        before = self._replicas.named(replica)
        self._replicas.put(self._launcher.changed(before, merge(self._spec.values, values)))
        await self._processes.start(replica, wait_ready=wait_ready)

    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        for replica in self._replicas:
            await self.reconfigure(replica.name, values)

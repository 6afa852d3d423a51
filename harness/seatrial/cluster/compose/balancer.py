"""Balancer: the container between clients and servers."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster import Replica
from seatrial.cluster.ability import Balancer
from seatrial.cluster.compose.deployment import SERVICE, Deployment
from seatrial.cluster.compose.processes import STOP_WITHIN_S
from seatrial.cluster.compose.project import BALANCER


class ComposeBalancer(Balancer):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        deployment.heal_with(self._heal)
        self._is_down = False

    def servers(self) -> Sequence[Replica]:
        return [self._deployment.node(name) for name in self._deployment.nodes]

    async def kill(self) -> None:
        self._is_down = True
        await self._deployment.docker.run("kill", (await self._deployment.of_service(BALANCER)).id)

    async def stop(self) -> int:
        self._is_down = True
        found = await self._deployment.of_service(BALANCER)
        await self._deployment.docker.run("stop", found.id, within_s=STOP_WITHIN_S)
        return (await self._deployment.of_service(BALANCER)).exit_code

    async def start(self, *, wait_ready: bool = True) -> None:
        found = await self._deployment.of_service(BALANCER)
        if not found.is_running:
            await self._deployment.docker.run("start", found.id)
        self._is_down = False
        if wait_ready and self._deployment.behind_balancer:
            await self._deployment.until_ready(SERVICE)

    async def _heal(self) -> None:
        if self._is_down:
            await self.start(wait_ready=False)

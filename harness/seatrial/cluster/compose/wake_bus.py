"""WakeBus: the project's Redis, which its engines use from the start."""

from __future__ import annotations

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import WakeBus as WakeBusAbility
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.docker import DockerFailed
from seatrial.cluster.compose.network import Network
from seatrial.cluster.compose.processes import STOP_WITHIN_S
from seatrial.cluster.compose.project import WAKE_BUS
from seatrial.deadline import until_passes

_ANSWERS_WITHIN_S = 30.0
_LOOK_INTERVAL_S = 0.1
#: without its password it says no, but it answers
_ANSWERS = ("PONG", "NOAUTH")


class ComposeWakeBus(WakeBusAbility):
    def __init__(self, deployment: Deployment, network: Network) -> None:
        self._deployment = deployment
        self._network = network
        self._is_down = False
        deployment.heal_with(self._heal)

    async def attach(self) -> None:
        """Only looks whether it is there."""
        found = await self._deployment.of_service(WAKE_BUS)
        if not found.is_running:
            raise ClusterError(f"{found.name} does not run; start it, with REDIS_REPLICAS=1")

    async def stop(self) -> None:
        self._is_down = True
        found = await self._deployment.of_service(WAKE_BUS)
        await self._deployment.docker.run("stop", found.id, within_s=STOP_WITHIN_S)

    async def start(self) -> None:
        found = await self._deployment.of_service(WAKE_BUS)
        if not found.is_running:
            await self._deployment.docker.run("start", found.id)
        self._is_down = False
        await until_passes(
            self._silence,
            within_s=_ANSWERS_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda cause: ClusterError(
                f"{WAKE_BUS} does not answer after {_ANSWERS_WITHIN_S:g} s: {cause}"
            ),
        )

    async def cut(self) -> int:
        """A connection is reset when its engine uses it next, which it does every few seconds at least."""
        connections = 0
        for service in self._deployment.engine_services:
            await self._network.cut(service, WAKE_BUS, "refuse")
            connections += self._network.cut_connections(service, WAKE_BUS)
        return connections

    async def mend(self) -> None:
        for service in self._deployment.engine_services:
            await self._network.mend(service, WAKE_BUS)

    async def _silence(self) -> str | None:
        found = await self._deployment.of_service(WAKE_BUS)
        try:
            said = await self._deployment.docker.run("exec", found.id, "redis-cli", "ping")
        except DockerFailed as err:
            said = str(err)
        return None if any(word in said for word in _ANSWERS) else said.strip()

    async def _heal(self) -> None:
        if self._is_down:
            await self.start()

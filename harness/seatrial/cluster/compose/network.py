"""Partition and Sockets: packets between two services are dropped in the network of one of them.

A container may be taken off a network (`docker network disconnect`), but that closes nothing, takes all its neighbours
away, and gives it another address afterwards. So rules of the kernel's firewall make the cut.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Partition, Sockets
from seatrial.cluster.broker import CutMode
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.docker import Container
from seatrial.cluster.compose.project import DATABASE, WAKE_BUS
from seatrial.cluster.socket_table import connected, opened, parsed

_LOOK_INTERVAL_S = 0.25
#: the database, and what only tells servers to look into it
_STORES = (DATABASE, WAKE_BUS)


@dataclass(slots=True)
class _Cut:
    pid: int
    chain: str
    connections: int
    dropped_bytes: int = 0
    counter: asyncio.Task[None] | None = None


class Network:
    """Cuts between any two services of a deployment; each is made inside the container of the first."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._cuts: dict[tuple[str, str], _Cut] = {}
        self._over: dict[tuple[str, str], _Cut] = {}
        deployment.heal_with(self._mend_all)

    async def cut(self, service: str, other: str, mode: CutMode) -> None:
        """Lasts until `mend`, or until the first one's container ends. Raises ClusterError."""
        if mode == "delay":
            raise ClusterError(
                "cut mode 'delay' is not available on compose, since it needs a module that few kernels have; "
                "run this drill on --backend local"
            )
        if (service, other) in self._cuts:
            raise ClusterError(f"{service} is cut off from {other} already; mend that first")
        agent, pid = self._deployment.agent, (await self._running(service)).pid
        addresses = list((await self._running(other)).addresses.values())
        cut = _Cut(pid, f"cut-{other}"[:28], connected(await agent.sockets(pid), addresses))
        self._cuts[service, other] = cut
        await agent.cut(pid, cut.chain, mode, addresses)
        cut.counter = asyncio.create_task(self._count(cut))

    async def mend(self, service: str, other: str) -> None:
        """Harmless when nothing was cut."""
        cut = self._cuts.pop((service, other), None)
        if cut is None:
            return
        self._over[service, other] = cut
        if cut.counter is not None:
            cut.counter.cancel()
            await asyncio.wait([cut.counter])
        await self._deployment.agent.mend(cut.pid, cut.chain)

    def dropped_bytes(self, service: str, other: str) -> int:
        """Since the last `cut`, as of the last look at the counters of its rules."""
        cut = self._last(service, other)
        return cut.dropped_bytes if cut else 0

    def cut_connections(self, service: str, other: str) -> int:
        cut = self._last(service, other)
        return cut.connections if cut else 0

    def _last(self, service: str, other: str) -> _Cut | None:
        return self._cuts.get((service, other)) or self._over.get((service, other))

    async def _running(self, service: str) -> Container:
        found = await self._deployment.of_service(service)
        if not found.is_running:
            raise ClusterError(f"{service} does not run, so it has no network to cut; start it first")
        return found

    async def _count(self, cut: _Cut) -> None:
        while True:
            # The container may have ended, and its rules with it.
            with suppress(ClusterError):
                cut.dropped_bytes = await self._deployment.agent.dropped_bytes(cut.pid, cut.chain)
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _mend_all(self) -> None:
        for pair in list(self._cuts):
            with suppress(ClusterError):
                await self.mend(*pair)


class ComposePartition(Partition):
    def __init__(self, deployment: Deployment, network: Network) -> None:
        self._deployment = deployment
        self._network = network

    async def cut(self, replica: str, mode: CutMode, *, delay_s: float = 0.0) -> None:  # noqa: ARG002  only `delay` has one
        await self._network.cut(self._deployment.service(replica), DATABASE, mode)

    async def mend(self, replica: str) -> None:
        await self._network.mend(self._deployment.service(replica), DATABASE)

    def dropped_bytes(self, replica: str) -> int:
        return self._network.dropped_bytes(self._deployment.service(replica), DATABASE)

    def cut_connections(self, replica: str) -> int:
        return self._network.cut_connections(self._deployment.service(replica), DATABASE)


class ComposeSockets(Sockets):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def peers(self, replica: str) -> Sequence[str]:
        found = await self._deployment.container(replica)
        if not found.is_running:
            return []
        table = await self._deployment.docker.run("exec", found.id, "cat", "/proc/net/tcp", "/proc/net/tcp6")
        ours = await self._deployment.addresses(*_STORES)
        return [
            peer for peer in opened(parsed(table)) if not _is_inside(host := _host(peer)) and host not in ours
        ]


def _host(peer: str) -> str:
    return peer.rpartition(":")[0]


def _is_inside(host: str) -> bool:
    """A health check's connection to the engine."""
    return ipaddress.ip_address(host).is_loopback

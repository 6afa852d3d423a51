"""Faults behind a balancer, and of the balancer itself: clients know only its address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from seatrial.cluster import Cluster, Replica
from seatrial.cluster.ability import Balancer, Kill, Partition
from seatrial.deadline import until
from seatrial.fault import ALL_REPLICAS, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready, names, silence_of

_LOOK_INTERVAL_S = 0.05
_NOTICED_WITHIN_S = 30.0


@dataclass(frozen=True)
class LoseServer(Bare):
    """SIGKILL to one of the servers behind the balancer; healed by starting it again.

    For `deaf_s` before, it hears nothing of the database: what is committed meanwhile it cannot answer any more.
    """

    name: ClassVar[str] = "lose_server"
    needs: ClassVar[tuple[type, ...]] = (Balancer, Kill, Partition)
    server: str
    deaf_s: float = 0.0
    target: str = ALL_REPLICAS

    def parameters(self) -> Mapping[str, Any]:
        return {"server": self.server, "signal": "SIGKILL", "deaf_s": self.deaf_s}

    async def inject(self, cluster: Cluster) -> None:
        if self.deaf_s:
            await cluster.ability(Partition).cut(self.server, "half-open")
            await asyncio.sleep(self.deaf_s)
        await cluster.ability(Kill).kill(self.server)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"silence": await silence_of(_server(cluster, self.server), self.name)}

    async def heal(self, cluster: Cluster) -> None:
        """The cut went with the network of the process."""
        await cluster.ability(Partition).mend(self.server)
        await cluster.ability(Kill).start(self.server, wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.server], self.name)


@dataclass(frozen=True)
class CutOffServer(Bare):
    """One of the servers behind the balancer reaches the database no more; it goes on listening."""

    name: ClassVar[str] = "cut_off_server"
    needs: ClassVar[tuple[type, ...]] = (Balancer, Kill, Partition)
    server: str
    target: str = ALL_REPLICAS

    def parameters(self) -> Mapping[str, Any]:
        return {"server": self.server, "mode": "blackhole"}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Partition).cut(self.server, "blackhole")

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        network = cluster.ability(Partition)
        dropped = await until(
            lambda: network.dropped_bytes(self.server),
            within_s=_NOTICED_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{self.name}: {self.server} exchanged no byte with the database in {_NOTICED_WITHIN_S:g} s"
            ),
        )
        return {"dropped_bytes": dropped}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Partition).mend(self.server)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.server], self.name)


@dataclass(frozen=True)
class LoseBalancer(Bare):
    """`how`: SIGKILL, or as its operator stops it; nobody is served until it is started again."""

    name: ClassVar[str] = "lose_balancer"
    needs: ClassVar[tuple[type, ...]] = (Balancer, Kill)
    how: Literal["kill", "stop"] = "stop"
    target: str = ALL_REPLICAS
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {"how": self.how}

    async def inject(self, cluster: Cluster) -> None:
        balancer = cluster.ability(Balancer)
        if self.how == "kill":
            await balancer.kill()
        else:
            self._seen["exit_code"] = await balancer.stop()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        (service,) = cluster.replicas()
        return {**self._seen, "silence": await silence_of(service, self.name)}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Balancer).start(wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


def _server(cluster: Cluster, name: str) -> Replica:
    return next(each for each in cluster.ability(Balancer).servers() if each.name == name)

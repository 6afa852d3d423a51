"""Replicas and schedulers that go away: killed, stopped, restarted, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import Kill, Schedulers
from seatrial.fault import ALL_REPLICAS, Bare, Evidence, FaultHadNoEffect, NotHealed
from seatrial.fault.liveness import all_ready, names, silence


@dataclass(frozen=True)
class _ReplicaGoesAway(Bare):
    """Healed by starting it again."""

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = (Kill,)
    signal: ClassVar[str]
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": self.signal}

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"silence": await silence(cluster, self.target, self.name)}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Kill).start(self.target, wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)


@dataclass(frozen=True)
class KillReplica(_ReplicaGoesAway):
    """SIGKILL."""

    name: ClassVar[str] = "kill_replica"
    signal: ClassVar[str] = "SIGKILL"

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Kill).kill(self.target)


@dataclass(frozen=True)
class StopReplica(_ReplicaGoesAway):
    """SIGTERM: a graceful stop."""

    name: ClassVar[str] = "stop_replica"
    signal: ClassVar[str] = "SIGTERM"
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    async def inject(self, cluster: Cluster) -> None:
        self._seen["exit_code"] = await cluster.ability(Kill).stop(self.target)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {**self._seen, **await super().wait_until_effective(cluster)}


@dataclass(frozen=True)
class RestartReplica(_ReplicaGoesAway):
    """SIGTERM, and a new start as soon as it is gone, as in a rollout."""

    name: ClassVar[str] = "restart_replica"
    signal: ClassVar[str] = "SIGTERM"
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    async def inject(self, cluster: Cluster) -> None:
        replicas = cluster.ability(Kill)
        self._seen["exit_code"] = await replicas.stop(self.target)
        await replicas.start(self.target, wait_ready=False)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        """The exit code is the proof: the old process has ended."""
        return dict(self._seen)


@dataclass(frozen=True)
class KillAllReplicas(Bare):
    """SIGKILL to all at once; healed by starting all at once."""

    name: ClassVar[str] = "kill_all_replicas"
    needs: ClassVar[tuple[type, ...]] = (Kill,)
    target: str = ALL_REPLICAS

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGKILL"}

    async def inject(self, cluster: Cluster) -> None:
        replicas = cluster.ability(Kill)
        await asyncio.gather(*(replicas.kill(name) for name in names(cluster)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"silence": {name: await silence(cluster, name, self.name) for name in names(cluster)}}

    async def heal(self, cluster: Cluster) -> None:
        replicas = cluster.ability(Kill)
        await asyncio.gather(*(replicas.start(name, wait_ready=False) for name in names(cluster)))

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


@dataclass(frozen=True)
class KillScheduler(Bare):
    """SIGKILL; healed by starting it again."""

    name: ClassVar[str] = "kill_scheduler"
    needs: ClassVar[tuple[type, ...]] = (Schedulers,)
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGKILL"}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Schedulers).kill(self.target)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        if cluster.ability(Schedulers).running(self.target):
            raise FaultHadNoEffect(f"{self.name}: {self.target} still runs")
        return {"running": False}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Schedulers).start(self.target, wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        try:
            await cluster.ability(Schedulers).start(self.target)
        except ClusterError as err:
            raise NotHealed(f"{self.name} is healed, but {err}") from err

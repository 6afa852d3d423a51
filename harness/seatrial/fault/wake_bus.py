"""Faults of the Redis by which engines tell each other of jobs: it ends, or it cannot be reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, WakeBus
from seatrial.fault import WAKE_BUS, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready, names


@dataclass(frozen=True)
class StopWakeBus(Bare):
    """All its connections are closed, new ones refused; healed by its start."""

    name: ClassVar[str] = "stop_wake_bus"
    needs: ClassVar[tuple[type, ...]] = (WakeBus, Kill)
    target: str = WAKE_BUS

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(WakeBus).stop()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        """`stop` returns when its process has ended."""
        return {"stopped": True}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(WakeBus).start()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


@dataclass(frozen=True)
class CutWakeBus(Bare):
    """The engines' connections with it are reset and new ones refused, while it runs."""

    name: ClassVar[str] = "cut_wake_bus"
    needs: ClassVar[tuple[type, ...]] = (WakeBus, Kill)
    target: str = WAKE_BUS
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        self._seen["connections"] = await cluster.ability(WakeBus).cut()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        if not self._seen.get("connections"):
            raise FaultHadNoEffect(f"{self.name}: no engine was connected to the wake bus")
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(WakeBus).mend()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)

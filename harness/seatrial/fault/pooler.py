"""Faults of a pooler between engines and database: it goes away, or it loses the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, Pooler
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready, names


@dataclass(frozen=True)
class StopPooler(Bare):
    """All its connections are closed, new ones refused; healed by its start."""

    name: ClassVar[str] = "stop_pooler"
    needs: ClassVar[tuple[type, ...]] = (Pooler, Kill)
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Pooler).stop()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        """`stop` returns when its process has ended."""
        return {"stopped": True}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Pooler).start()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


@dataclass(frozen=True)
class CutPooler(Bare):
    """Its sessions with the database are reset and new ones refused, while clients stay connected to it."""

    name: ClassVar[str] = "cut_pooler"
    needs: ClassVar[tuple[type, ...]] = (Pooler, Kill)
    target: str = DATABASE
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        self._seen["sessions"] = await cluster.ability(Pooler).cut()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        if not self._seen.get("sessions"):
            raise FaultHadNoEffect(f"{self.name}: the pooler had no session with the database")
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Pooler).mend()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)

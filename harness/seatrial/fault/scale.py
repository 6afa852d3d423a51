"""More replicas, and fewer: what an autoscaler does, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, Scale, Service
from seatrial.fault import ALL_REPLICAS, Bare, Evidence, FaultHadNoEffect


@dataclass(frozen=True)
class ScaleRelease(Bare):
    """It has an effect when other pods take calls than before. It is over when it is done, so there is nothing to
    heal.
    """

    replicas: int
    name: ClassVar[str] = "scale_release"
    needs: ClassVar[tuple[type, ...]] = (Scale,)
    target: str = field(default=ALL_REPLICAS, kw_only=True)
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {"replicas": self.replicas}

    async def inject(self, cluster: Cluster) -> None:
        self._seen.update(asdict(await cluster.ability(Scale).scale(self.replicas)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        if self._seen["pods_before"] == self._seen["pods_after"]:
            raise FaultHadNoEffect(f"{self.name}: the {self.replicas} pods were there already")
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """It returned when it was done."""


@dataclass(frozen=True)
class JoinService(Bare):
    """Replicas start, and new connections to the service go to them as well as to those that were `there`. It is over
    when it is done, so there is nothing to heal.
    """

    there: tuple[str, ...]
    new: tuple[str, ...]
    name: ClassVar[str] = "join_service"
    needs: ClassVar[tuple[type, ...]] = (Kill, Service)
    target: str = field(default=ALL_REPLICAS, kw_only=True)

    def parameters(self) -> Mapping[str, Any]:
        return {"there": self.there, "new": self.new}

    async def inject(self, cluster: Cluster) -> None:
        await asyncio.gather(*(cluster.ability(Kill).start(name) for name in self.new))
        cluster.ability(Service).lead_to(*self.there, *self.new)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        """A replica that starts is waited for until it is ready."""
        return {"behind": [*self.there, *self.new]}

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """It returned when it was done."""

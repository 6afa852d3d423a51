"""Operations on the release and its machines: an upgrade, a rollback, a drained node. They break nothing, but clients
must not notice them, so they are recorded as faults: with evidence that they happened, and as the time in which
errors count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import UPGRADE_WITHIN_S, Build, Nodes, Upgrade
from seatrial.fault import ALL_REPLICAS, Bare, Evidence, FaultHadNoEffect

DEPLOYED, FAILED = "deployed", "failed"


@dataclass(frozen=True)
class _Operation(Bare):
    """Over when it is done, so there is nothing to take away."""

    name: ClassVar[str]
    target: str = field(default=ALL_REPLICAS, kw_only=True)
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """It returned when it was done."""


@dataclass(frozen=True)
class UpgradeRelease(_Operation):
    """`helm upgrade --wait` to another image. It has an effect when it has created a revision, whatever became of
    it.
    """

    name: ClassVar[str] = "upgrade_release"
    needs: ClassVar[tuple[type, ...]] = (Upgrade,)
    build: Build = "next"
    values: Mapping[str, object] = field(default_factory=dict)
    expects: str = DEPLOYED
    within_s: int = UPGRADE_WITHIN_S

    def parameters(self) -> Mapping[str, Any]:
        return {
            "build": self.build,
            "values": dict(self.values),
            "expects": self.expects,
            "within_s": self.within_s,
        }

    async def inject(self, cluster: Cluster) -> None:
        release = cluster.ability(Upgrade)
        self._seen.update(asdict(await release.upgrade(self.build, self.values, within_s=self.within_s)))


@dataclass(frozen=True)
class RollBackRelease(_Operation):
    """`helm rollback --wait` to the previous revision. It has an effect as an upgrade has."""

    name: ClassVar[str] = "roll_back_release"
    needs: ClassVar[tuple[type, ...]] = (Upgrade,)
    expects: str = DEPLOYED

    def parameters(self) -> Mapping[str, Any]:
        return {"expects": self.expects}

    async def inject(self, cluster: Cluster) -> None:
        self._seen.update(asdict(await cluster.ability(Upgrade).rollback()))


@dataclass(frozen=True)
class DrainNode(_Operation):
    """`kubectl drain` of one node, for the release's pods. It has an effect when one was evicted; healed by
    uncordoning it.
    """

    name: ClassVar[str] = "drain_node"
    needs: ClassVar[tuple[type, ...]] = (Nodes,)
    node: str = ""

    def parameters(self) -> Mapping[str, Any]:
        return {"node": self.node}

    async def inject(self, cluster: Cluster) -> None:
        self._seen.update(asdict(await cluster.ability(Nodes).drain(self.node)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        if not self._seen.get("evicted"):
            raise FaultHadNoEffect(f"{self.name}: no pod of the release was on {self.node}")
        return await super().wait_until_effective(cluster)

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Nodes).uncordon(self.node)

"""A cut in the network between one replica and the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, Partition
from seatrial.cluster.broker import CutMode
from seatrial.deadline import until
from seatrial.fault import Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready

_LOOK_INTERVAL_S = 0.02


@dataclass(frozen=True)
class CutNetwork(Bare):
    """It has an effect when the cut has dropped bytes, or with `refuse` has closed connections; healed by ending the
    cut.

    `effect_within_s` must be longer than the replica's longest silence towards the database.
    """

    name: ClassVar[str] = "cut_network"
    needs: ClassVar[tuple[type, ...]] = (Partition, Kill)
    target: str
    mode: CutMode
    delay_s: float = 0.0
    effect_within_s: float = 30.0

    def parameters(self) -> Mapping[str, Any]:
        return {"mode": self.mode, "delay_s": self.delay_s}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Partition).cut(self.target, self.mode, delay_s=self.delay_s)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        network = cluster.ability(Partition)
        if self.mode == "refuse":
            if not (closed := network.cut_connections(self.target)):
                raise FaultHadNoEffect(f"{self.name}: {self.target} had no connection that could be refused")
            return {"closed_connections": closed}
        dropped = await until(
            lambda: network.dropped_bytes(self.target),
            within_s=self.effect_within_s,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{self.name}: {self.target} exchanged no byte with the database in {self.effect_within_s:g} s"
            ),
        )
        return {"dropped_bytes": dropped}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Partition).mend(self.target)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)

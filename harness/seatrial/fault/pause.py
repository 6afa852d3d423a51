"""A replica that is paused with its connections open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, Pause
from seatrial.fault import Bare, Evidence
from seatrial.fault.liveness import all_ready, silence

_ANSWER_WITHIN_S = 0.5


@dataclass(frozen=True)
class PauseReplica(Bare):
    """SIGSTOP; healed by SIGCONT."""

    name: ClassVar[str] = "pause_replica"
    needs: ClassVar[tuple[type, ...]] = (Pause, Kill)
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGSTOP"}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Pause).pause(self.target)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"silence": await silence(cluster, self.target, self.name, answer_within_s=_ANSWER_WITHIN_S)}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Pause).resume(self.target)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)

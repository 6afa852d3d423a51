"""A replica that is paused with its connections open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster, Pause
from seatrial.fault import Bare, Evidence, FaultDidNotBite, lacking
from seatrial.fault.liveness import all_ready, silence

_ANSWER_WITHIN_S = 0.5
_SILENT_WITHIN_S = 5.0


@dataclass(frozen=True)
class PauseReplica(Bare):
    """SIGSTOP; healed by SIGCONT."""

    name: ClassVar[str] = "pause_replica"
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGSTOP"}

    async def setup(self, cluster: Cluster) -> None:
        self._can_pause(cluster)

    async def inject(self, cluster: Cluster) -> None:
        await self._can_pause(cluster).pause(self.target)

    async def wait_until_it_bit(self, cluster: Cluster) -> Evidence:
        cause = await silence(
            cluster, self.target, answer_within_s=_ANSWER_WITHIN_S, give_up_after_s=_SILENT_WITHIN_S
        )
        if cause is None:
            raise FaultDidNotBite(f"{self.name}: {self.target} still answers {_SILENT_WITHIN_S:g} s after it")
        return {"silence": cause}

    async def heal(self, cluster: Cluster) -> None:
        await self._can_pause(cluster).resume(self.target)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)

    def _can_pause(self, cluster: Cluster) -> Pause:
        if not isinstance(cluster, Pause):
            raise lacking(cluster, self.name, "Pause")
        return cluster

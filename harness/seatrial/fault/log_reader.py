"""Nobody reads what a replica writes to its standard output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, LogReader
from seatrial.deadline import until
from seatrial.fault import Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready

#: a page less some lines: the pipe has room for no more
_FULL_BYTES = 3000
_FULL_WITHIN_S = 10.0
_LOOK_INTERVAL_S = 0.05


@dataclass(frozen=True)
class StopLogReader(Bare):
    """Its pipe fills and stays full; healed when the reader goes on. The reader must be attached."""

    name: ClassVar[str] = "stop_log_reader"
    needs: ClassVar[tuple[type, ...]] = (LogReader, Kill)
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        cluster.ability(LogReader).stop(self.target)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        reader = cluster.ability(LogReader)
        await until(
            lambda: reader.unread_bytes(self.target) > _FULL_BYTES,
            within_s=_FULL_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{self.name}: {reader.unread_bytes(self.target)} bytes wait in the pipe of {self.target} after "
                f"{_FULL_WITHIN_S:g} s, more than {_FULL_BYTES} were expected"
            ),
        )
        return {"unread_bytes": reader.unread_bytes(self.target)}

    async def heal(self, cluster: Cluster) -> None:
        cluster.ability(LogReader).resume(self.target)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)

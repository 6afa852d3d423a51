"""Nobody reads what a replica writes to its standard output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill, LogReader
from seatrial.deadline import until
from seatrial.fault import Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready

#: Under load lines come all the time. Whoever writes several at once waits as soon as not all of them fit into the
#: pipe, so that how full it is says little.
_STILL_FOR_S = 1.0
_FULL_WITHIN_S = 10.0
_LOOK_INTERVAL_S = 0.05


@dataclass(frozen=True)
class StopLogReader(Bare):
    """Its pipe fills and stays full; healed when the reader goes on. The reader must be attached, and the replica be
    called.
    """

    name: ClassVar[str] = "stop_log_reader"
    needs: ClassVar[tuple[type, ...]] = (LogReader, Kill)
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        cluster.ability(LogReader).stop(self.target)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        reader = cluster.ability(LogReader)
        seen, since_s = -1, time.monotonic()

        def stands_still() -> bool:
            nonlocal seen, since_s
            unread = reader.unread_bytes(self.target)
            if unread != seen:
                seen, since_s = unread, time.monotonic()
            return unread > 0 and time.monotonic() - since_s >= _STILL_FOR_S

        await until(
            stands_still,
            within_s=_FULL_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{self.name}: the pipe of {self.target} was to be full, with no byte more for {_STILL_FOR_S:g} s; "
                f"after {_FULL_WITHIN_S:g} s {seen} bytes wait in it"
            ),
        )
        return {"unread_bytes": seen}

    async def heal(self, cluster: Cluster) -> None:
        cluster.ability(LogReader).resume(self.target)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)

"""A definition whose jobs have no destination at the broker yet: they cannot be published until one is created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Kill
from seatrial.cluster.broker import Broker
from seatrial.deadline import until
from seatrial.fault import BROKER, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready, names
from seatrial.observe.metrics import scrape

_LOOK_INTERVAL_S = 0.1
_ANSWER_WITHIN_S = 2.0
_ERRORS = 'workflow_engine_dispatch_relay_publish_total{result="error"}'


@dataclass(frozen=True)
class MissingDestination(Bare):
    """It has an effect when a replica counts an error of publishing; healed by creating the destinations."""

    name: ClassVar[str] = "missing_destination"
    needs: ClassVar[tuple[type, ...]] = (Broker, Kill)
    job_types: tuple[str, ...]
    target: str = BROKER
    effect_within_s: float = 20.0

    def parameters(self) -> Mapping[str, Any]:
        return {"job_types": list(self.job_types)}

    async def inject(self, cluster: Cluster) -> None:
        """The scenario starts the work that needs them."""

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        async with aiohttp.ClientSession() as session:
            return await until(
                lambda: _counted_error(session, cluster),
                within_s=self.effect_within_s,
                every_s=_LOOK_INTERVAL_S,
                otherwise=lambda: FaultHadNoEffect(
                    f"{self.name}: no replica counted an error within {self.effect_within_s:g} s"
                ),
            )

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Broker).create_destinations(self.job_types)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


async def _counted_error(session: aiohttp.ClientSession, cluster: Cluster) -> Evidence:
    """Empty while no replica that answers has counted one."""
    for replica in cluster.replicas():
        series = await scrape(session, replica, within_s=_ANSWER_WITHIN_S, of=_ERRORS) or {}
        errors = series.get(_ERRORS, 0.0)
        if errors:
            return {"publish_errors": errors, "at": replica.name}
    return {}

"""Whether a replica answers, checked from outside like a client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from seatrial.cluster import Cluster, ClusterError, Replica
from seatrial.cluster.ability import Kill
from seatrial.cluster.probe import ANY_STATUS, ill_health
from seatrial.deadline import until
from seatrial.fault import FaultHadNoEffect, NotHealed

_SILENT_WITHIN_S = 5.0
_LOOK_INTERVAL_S = 0.05


async def silence(cluster: Cluster, name: str, fault: str, *, answer_within_s: float = 1.0) -> str:
    """How the replica fails to answer; raises FaultHadNoEffect when it still answers after a few seconds."""
    return await silence_of(_find(cluster, name), fault, answer_within_s=answer_within_s)


async def silence_of(replica: Replica, fault: str, *, answer_within_s: float = 1.0) -> str:
    """As `silence`, of one that need not be among those that clients call."""
    async with aiohttp.ClientSession() as session:
        return await until(
            lambda: ill_health(session, replica, within_s=answer_within_s, accepted=ANY_STATUS),
            within_s=_SILENT_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{fault}: {replica.name} still answers {_SILENT_WITHIN_S:g} s after it"
            ),
        )


def _find(cluster: Cluster, name: str) -> Replica:
    return next(replica for replica in cluster.replicas() if replica.name == name)


def names(cluster: Cluster) -> list[str]:
    return [replica.name for replica in cluster.replicas()]


async def all_ready(cluster: Cluster, replicas: Sequence[str], fault: str) -> None:
    """Returns when their readiness probes pass; raises NotHealed when one does not in the cluster's time."""
    processes = cluster.ability(Kill)
    try:
        # A replica that runs is only waited for.
        await asyncio.gather(*(processes.start(name, wait_ready=True) for name in replicas))
    except ClusterError as err:
        raise NotHealed(f"{fault} is healed, but {err}") from err

"""Whether a replica answers, checked from outside like a client."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

import aiohttp

from seatrial.cluster import Cluster, ClusterError, Kill, Replica
from seatrial.fault import NotHealed, lacking

#: the one health path that every engine with this API has; it never queries the database
_HEALTH_PATH = "/healthz"
_LOOK_INTERVAL_S = 0.05


async def silence(
    cluster: Cluster, name: str, *, answer_within_s: float, give_up_after_s: float
) -> str | None:
    """How the replica fails to answer, once it does; None when it still answers after `give_up_after_s`."""
    replica = _find(cluster, name)
    give_up_at_s = time.monotonic() + give_up_after_s
    async with aiohttp.ClientSession() as session:
        while (cause := await _no_answer(session, replica, answer_within_s)) is None:
            if time.monotonic() > give_up_at_s:
                return None
            await asyncio.sleep(_LOOK_INTERVAL_S)
    return cause


def _find(cluster: Cluster, name: str) -> Replica:
    return next(replica for replica in cluster.replicas() if replica.name == name)


def names(cluster: Cluster) -> list[str]:
    return [replica.name for replica in cluster.replicas()]


async def all_ready(cluster: Cluster, replicas: Sequence[str], fault: str) -> None:
    """Returns when their readiness probes pass; raises NotHealed when one does not in the cluster's time."""
    if not isinstance(cluster, Kill):
        raise lacking(cluster, fault, "Kill")
    try:
        # A replica that runs is only waited for.
        await asyncio.gather(*(cluster.start(name, wait_ready=True) for name in replicas))
    except ClusterError as err:
        raise NotHealed(f"{fault} is healed, but {err}") from err


async def _no_answer(session: aiohttp.ClientSession, replica: Replica, within_s: float) -> str | None:
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with session.get(
            replica.rest_url + _HEALTH_PATH, timeout=timeout, headers={"Connection": "close"}
        ):
            return None
    except TimeoutError:
        return f"no answer in {within_s:g} s"
    except aiohttp.ClientConnectorError as err:
        return os.strerror(err.errno) if err.errno else str(err)
    except aiohttp.ClientError as err:
        return str(err) or type(err).__name__

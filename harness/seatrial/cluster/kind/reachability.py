"""Whether what was installed can be reached from outside, and if not, why."""

from __future__ import annotations

from contextlib import suppress

import aiohttp

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.kind.kube import Kube
from seatrial.cluster.probe import ill_health
from seatrial.deadline import until_passes

_ANSWER_INTERVAL_S = 0.1
_CALL_TIMEOUT_S = 2.0


async def until_answers(replica: Replica, within_s: float) -> None:
    """Raises ClusterError when it does not in time."""
    async with aiohttp.ClientSession() as session:
        await until_passes(
            lambda: ill_health(session, replica, within_s=_CALL_TIMEOUT_S),
            within_s=within_s,
            every_s=_ANSWER_INTERVAL_S,
            otherwise=lambda cause: ClusterError(
                f"{replica.name} is not reached at {replica.rest_url} in {within_s:g} s: {cause}; "
                "the ports of the nodes must be open to this machine"
            ),
        )


async def told_by_pods(kube: Kube, namespace: str, release: str) -> str:
    """Their status, for an error message."""
    with suppress(ClusterError):
        states = []
        for found in await kube.list("Pod", namespace):
            for status in found["status"].get("containerStatuses") or ():
                waiting = (status.get("state") or {}).get("waiting") or {}
                ready = "ready" if status.get("ready") else waiting.get("reason") or "not ready"
                states.append(f"{found['metadata']['name']} is {ready}")
        return f"of release {release} in {namespace}: {', '.join(states) or 'no pod is there'}"
    return "and the API does not say why"

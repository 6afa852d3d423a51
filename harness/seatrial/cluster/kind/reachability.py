"""Whether what was installed can be reached from outside, and if not, why."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import aiohttp

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.kind.kube import Kube

_ANSWER_INTERVAL_S = 0.1
_CALL_TIMEOUT_S = 2.0
_HEALTH_PATH = "/healthz"


async def until_answers(replica: Replica, within_s: float) -> None:
    """Raises ClusterError when it does not in time."""
    give_up_at_s = time.monotonic() + within_s
    timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while (cause := await _no_answer(session, replica)) is not None:
            if time.monotonic() > give_up_at_s:
                raise ClusterError(
                    f"{replica.name} is not reached at {replica.rest_url} in {within_s:g} s: {cause}; "
                    "the ports of the nodes must be open to this machine"
                )
            await asyncio.sleep(_ANSWER_INTERVAL_S)


async def _no_answer(session: aiohttp.ClientSession, replica: Replica) -> str | None:
    try:
        async with session.get(replica.rest_url + _HEALTH_PATH) as response:
            return None if response.status == 200 else f"it answered {response.status}"
    except (aiohttp.ClientError, TimeoutError) as err:
        return str(err) or type(err).__name__


async def told_by_pods(kube: Kube, namespace: str, release: str) -> str:
    """What they say of themselves, for the message of an error."""
    with suppress(ClusterError):
        states = []
        for found in await kube.list("Pod", namespace):
            for status in found["status"].get("containerStatuses") or ():
                waiting = (status.get("state") or {}).get("waiting") or {}
                ready = "ready" if status.get("ready") else waiting.get("reason") or "not ready"
                states.append(f"{found['metadata']['name']} is {ready}")
        return f"of release {release} in {namespace}: {', '.join(states) or 'no pod is there'}"
    return "and the API does not say why"

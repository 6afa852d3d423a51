"""Whether the ports of the nodes lead from here to a replica."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from seatrial.cluster import ClusterError, Replica

REACHED_WITHIN_S = 60.0
_INTERVAL_S = 0.1
_HEALTH_PATH = "/healthz"


async def until_answers(replica: Replica) -> None:
    give_up_at_s = time.monotonic() + REACHED_WITHIN_S
    timeout = aiohttp.ClientTimeout(total=2.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(replica.rest_url + _HEALTH_PATH) as response:
                    if response.status == 200:
                        return
                    cause = f"it answered {response.status}"
            except (aiohttp.ClientError, TimeoutError) as err:
                cause = str(err) or type(err).__name__
            if time.monotonic() > give_up_at_s:
                raise ClusterError(
                    f"{replica.name} is not reached at {replica.rest_url} in {REACHED_WITHIN_S:g} s: {cause}; "
                    "the ports of the nodes must be open to this machine"
                )
            await asyncio.sleep(_INTERVAL_S)

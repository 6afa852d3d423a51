"""A cluster that runs already: only its addresses are known, so only drills without a fault can use it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from seatrial.cluster import ClusterError, ClusterSpec, Replica

ALIVE_WITHIN_S = 30.0
_LOOK_INTERVAL_S = 0.2
_ANSWER_WITHIN_S = 5.0
#: the one health path that every engine of this wire has
_HEALTH_PATH = "/healthz"


class AttachedCluster:
    """`up` waits for the endpoints and `down` leaves them as they are."""

    def __init__(self, urls: Sequence[str], *, folder: Path | None = None) -> None:
        if not urls:
            raise ClusterError("no URL to attach to; give at least one, as http://HOST:PORT")
        self._replicas = [Replica(f"replica-{n}", _checked(url), None) for n, url in enumerate(urls)]
        self.spec = ClusterSpec(replicas=len(urls), folder=folder or Path())

    async def up(self) -> None:
        """Returns when every endpoint answers its health path; ClusterError names the one that does not."""
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(_until_alive(session, replica) for replica in self._replicas))

    async def down(self) -> None:
        """Nothing was made, so nothing is removed."""

    def replicas(self) -> Sequence[Replica]:
        return self._replicas


def _checked(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise ClusterError(f"{url!r} is no address of an engine; give http://HOST:PORT")
    return url.rstrip("/")


async def _until_alive(session: aiohttp.ClientSession, replica: Replica) -> None:
    url = replica.rest_url + _HEALTH_PATH
    give_up_at_s = time.monotonic() + ALIVE_WITHIN_S
    while True:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)) as response:
                if response.status == 200:
                    return
                cause = f"it answered {response.status}"
        except TimeoutError:
            cause = f"no answer in {_ANSWER_WITHIN_S:g} s"
        except aiohttp.ClientError as err:
            cause = str(err)
        if time.monotonic() > give_up_at_s:
            raise ClusterError(
                f"{url} is not alive after {ALIVE_WITHIN_S:g} s: {cause}; start the engine or correct the URL"
            )
        await asyncio.sleep(_LOOK_INTERVAL_S)

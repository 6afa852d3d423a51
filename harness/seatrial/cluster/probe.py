"""One GET that tells whether an engine is well, as a kubelet's HTTP probe asks."""

from __future__ import annotations

import os
import ssl
from collections.abc import Container
from urllib.parse import urlsplit

import aiohttp

from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of
from seatrial.render import Probe

#: the one health path that every engine of this wire has; it never asks the database
HEALTH_PATH = "/healthz"
READY_PATH = "/ready"
#: any answer at all, to learn only whether the server runs
ANY_STATUS = range(100, 600)
_SUCCESS = range(200, 400)
_SHOWN_CHARACTERS = 300


async def failure(session: aiohttp.ClientSession, probe: Probe) -> str | None:
    """Why it fails, with what the engine says; None when it passes (a status from 200 to 399). As a kubelet's, it takes
    any certificate (Kubernetes, Configure Probes: HTTP probes).
    """
    url = f"{probe.scheme.lower()}://127.0.0.1:{probe.port}{probe.path}"
    return await _failure(session, url, probe.timeout_s, _SUCCESS, False)


async def ill_health(
    session: aiohttp.ClientSession, replica: Replica, *, within_s: float, accepted: Container[int] = _SUCCESS
) -> str | None:
    """Why the replica's health path is not answered with an accepted status; None when it is."""
    return await _failure(session, replica.rest_url + HEALTH_PATH, within_s, accepted, trust_of(replica))


async def unready(session: aiohttp.ClientSession, replica: Replica, *, within_s: float) -> str | None:
    """Why the replica, or whoever answers at its address, is not ready; None when it is."""
    return await _failure(session, replica.rest_url + READY_PATH, within_s, _SUCCESS, trust_of(replica))


async def _failure(
    session: aiohttp.ClientSession,
    url: str,
    within_s: float,
    accepted: Container[int],
    trust: ssl.SSLContext | bool,
) -> str | None:
    path = urlsplit(url).path
    try:
        # A probe's own connection each time, as a kubelet opens it.
        async with session.get(
            url, timeout=aiohttp.ClientTimeout(total=within_s), headers={"Connection": "close"}, ssl=trust
        ) as response:
            if response.status in accepted:
                return None
            said = (await response.text(errors="replace")).strip()[:_SHOWN_CHARACTERS]
            return f"GET {path} answered {response.status}: {said}"
    except TimeoutError:
        return f"GET {path} did not answer in {within_s:g} s"
    except aiohttp.ClientSSLError as err:
        # Its number is of another kind than the system's.
        return f"GET {path} failed: {err}"
    except aiohttp.ClientConnectorError as err:
        return f"GET {path} failed: {os.strerror(err.errno) if err.errno else err}"
    except aiohttp.ClientError as err:
        return f"GET {path} failed: {str(err) or type(err).__name__}"

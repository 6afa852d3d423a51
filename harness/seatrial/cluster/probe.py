"""A kubelet's HTTP probe, as the chart describes it."""

from __future__ import annotations

import aiohttp

from seatrial.render import Probe

_SHOWN_CHARACTERS = 300


async def failure(session: aiohttp.ClientSession, probe: Probe) -> str | None:
    """Why it fails, with what the engine says; None when it passes (a status from 200 to 399)."""
    url = f"http://127.0.0.1:{probe.port}{probe.path}"
    try:
        # A probe's own connection each time, as a kubelet opens it.
        async with session.get(
            url, timeout=aiohttp.ClientTimeout(total=probe.timeout_s), headers={"Connection": "close"}
        ) as response:
            if 200 <= response.status < 400:
                return None
            said = (await response.text(errors="replace")).strip()[:_SHOWN_CHARACTERS]
            return f"GET {probe.path} answered {response.status}: {said}"
    except TimeoutError:
        return f"GET {probe.path} did not answer in {probe.timeout_s:g} s"
    except aiohttp.ClientError as err:
        return f"GET {probe.path} failed: {err}"

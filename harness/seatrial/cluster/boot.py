"""One start of an engine, watched until it is ready, has refused, or has had its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp
import psutil

from seatrial.cluster import BootReport
from seatrial.cluster.probe import failure
from seatrial.cluster.process import Process, children, runs
from seatrial.render import ContainerSpec

_LOOK_INTERVAL_S = 0.05


async def observed_boot(
    process: Process,
    container: ContainerSpec,
    session: aiohttp.ClientSession,
    bound_s: float,
    without_secret: Callable[[str], str],
) -> BootReport:
    """Starts the process, which still runs afterwards if it did not exit by itself. The output is all it wrote."""
    probe = container.probes.get("readiness")
    began_s = time.monotonic()
    process.start()
    seen: dict[int, psutil.Process] = {}
    ready = False
    while process.running and not ready and time.monotonic() - began_s < bound_s:
        for child in children(process.pid):
            seen.setdefault(child.pid, child)
        ready = probe is not None and await failure(session, probe) is None
        if not ready:
            await asyncio.sleep(_LOOK_INTERVAL_S)
    took_s = time.monotonic() - began_s
    left = sum(map(runs, seen.values())) if not process.running else 0
    said = process.log_path.read_text(errors="replace")
    output = without_secret(said)
    return BootReport(process.exit_code, ready, output, output != said, round(took_s, 3), left)

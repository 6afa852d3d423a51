"""What the nodes take of the machine, again and again."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from seatrial.cluster.resources import Resources
from seatrial.history import OBSERVER, Recorder


async def watch_resources(resources: Resources, recorder: Recorder, every_s: float) -> None:
    """Records `resources` of each node that runs, until cancelled."""
    while True:
        for node in resources.nodes():
            if (use := resources.use(node)) is not None:
                recorder.info(OBSERVER, "resources", {"node": node, **asdict(use)})
        await asyncio.sleep(every_s)

"""A harness in a process of its own, for a test to interrupt or kill: FOLDER ENGINE_COMMAND. Prints `up` when it is."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import Pause
from seatrial.cluster.local.cluster import LocalCluster


async def main() -> None:
    folder, engine_command = sys.argv[1:]
    cluster = LocalCluster(ClusterSpec(replicas=2, folder=Path(folder), engine_command=engine_command))
    try:
        await cluster.up()
        await cluster.ability(Pause).pause("replica-1")
        print("up", flush=True)
        await asyncio.Event().wait()
    finally:
        await cluster.down()


# A shell's background jobs, and what they start, ignore it otherwise.
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())

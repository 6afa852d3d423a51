"""A worker: does the jobs of start_and_wait.py until Ctrl-C or SIGTERM, then finishes those in hand.

python examples/worker.py http://localhost:8080
python examples/worker.py grpc://localhost:9090
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from windlass_client import Client, Job, NonRetryableError, Worker


async def say_hello(job: Job) -> dict[str, str]:
    who = job.variables.get("who")
    if not who:
        # Trying again would not bring a name: the instance fails with these words.
        raise NonRetryableError("nobody to greet: the variable who is missing")
    return {"said": f"Hello, {who}"}


async def main(address: str) -> None:
    async with Client(address) as windlass:
        worker = Worker(windlass, {"say-hello": say_hello}, concurrency=20, lease_s=60)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(main(sys.argv[1]))

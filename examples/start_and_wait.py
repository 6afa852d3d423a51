"""Stores a definition, starts an instance of it, waits for its end and prints what came out; worker.py does the job.

python examples/start_and_wait.py http://localhost:8080 Ada
python examples/start_and_wait.py grpc://localhost:9090 Ada
"""

from __future__ import annotations

import asyncio
import sys

from windlass_client import Client, InstanceStatus

GREET = {
    "id": "greet",
    "name": "Greet somebody",
    "steps": [
        {
            "id": "hello",
            "name": "Say hello",
            "type": "SERVICE_TASK",
            "jobType": "say-hello",
            "retryCount": 3,
            "nextStep": "done",
        },
        {"id": "done", "name": "Done", "type": "END"},
    ],
}
WAIT_S = 60


async def main(address: str, who: str) -> int:
    async with Client(address) as windlass:
        await windlass.upload(GREET)
        begun = await windlass.start("greet", {"who": who})
        try:
            ended = await windlass.wait_for_end(begun.id, timeout_s=WAIT_S)
        except TimeoutError:
            sys.stderr.write(
                f"instance {begun.id} has not ended within {WAIT_S} s; does examples/worker.py run?\n"
            )
            return 1
        if ended.status is not InstanceStatus.COMPLETED:
            sys.stderr.write(f"instance {begun.id} is {ended.status}: {ended.failure_reason}\n")
            return 1
        sys.stdout.write(f"{ended.variables['said']}\n")
        return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2])))

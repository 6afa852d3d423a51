"""A steady load in this process: starts at a fixed rate, and workers that take and complete the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any, Self

import aiohttp

JOB_TYPE = "soak"
DEFINITION = {
    "id": "soak",
    "name": "One service task",
    "steps": [
        {"id": "work", "name": "Work", "type": "SERVICE_TASK", "jobType": JOB_TYPE, "nextStep": "done"},
        {"id": "done", "name": "Done", "type": "END"},
    ],
}
VARIABLES = {"customer": "c-4711", "amount": 129.95, "currency": "EUR", "note": "as agreed"}
POLL_WAIT_MS = 2_000
JOBS_PER_POLL = 8
CONNECTIONS = 64
LATE_S_MAX = 0.1


class SteadyLoad:
    """`async with`. Every replica gets its share of the calls."""

    def __init__(self, urls: Sequence[str], *, workers: int) -> None:
        self._urls = itertools.cycle(urls)
        self._workers = workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._took_s: list[float] = []
        self.started = 0
        self.completed = 0
        self.failed = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # As many as SDKs hold: without a limit a slow minute of the machine would count as growth of the engine.
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=30),
        )
        await self._call("/v1/definitions", DEFINITION)
        for number in range(self._workers):
            self._spawn(self._work(f"worker-{number}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def run(self, per_s: float) -> None:
        """Until cancelled; a start that is slow does not keep the next one.

        What a starved machine has kept this process from starting is not made up for: a burst is no steady load.
        """
        due_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._spawn(self._start())
            due_s = max(due_s + 1 / per_s, time.monotonic() - LATE_S_MAX)

    async def start(self, count: int, *, at_once: int = 32) -> None:
        """So many, as fast as they go."""
        room = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with room:
                await self._start()

        await asyncio.gather(*(one() for _ in range(count)))

    def latencies_s(self) -> list[float]:
        """Of the starts and completions since the last question."""
        took_s, self._took_s = self._took_s, []
        return took_s

    async def _start(self) -> None:
        await self._timed("/v1/instances", {"definitionId": "soak", "variables": VARIABLES})
        self.started += 1

    async def _work(self, name: str) -> None:
        poll = {"workerId": name, "jobTypes": [JOB_TYPE], "maxJobs": JOBS_PER_POLL, "waitMs": POLL_WAIT_MS}
        while True:
            try:
                jobs = (await self._call("/v1/jobs/poll", poll))["jobs"]
            except (aiohttp.ClientError, TimeoutError):
                self.failed += 1
                await asyncio.sleep(0.1)
                continue
            await asyncio.gather(*(self._complete(name, job) for job in jobs))

    async def _complete(self, name: str, job: dict[str, Any]) -> None:
        body = {"workerId": name, "leaseToken": job["leaseToken"], "variables": {"done": True}}
        await self._timed(f"/v1/jobs/{job['id']}/complete", body)
        self.completed += 1

    async def _timed(self, path: str, body: object) -> None:
        began_s = time.monotonic()
        try:
            await self._call(path, body)
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
        self._took_s.append(time.monotonic() - began_s)

    async def _call(self, path: str, body: object) -> Any:
        async with self._session.post(next(self._urls) + path, json=body) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise aiohttp.ClientResponseError(
                    answer.request_info, (), status=answer.status, message=text.decode(errors="replace")
                )
            return json.loads(text) if text else None

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()

"""A load for a long time: starts at a steady pace, and workers that complete their jobs, all in this process. Calls are
counted, not recorded: half an hour of them would be no history that anybody could read.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from seatrial.check.latency import nearest_rank
from seatrial.client.rest import headers_of
from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of

_TICK_S = 0.02
_POLL_WAIT_MS = 1000
_POLL_JOBS = 20
_AGAIN_AFTER_S = 0.2
_CALL_TIMEOUT_S = 20.0
#: to each replica; so few that all are open before the pace is set, and what a replica opens later is not for us
_CONNECTIONS = 40


class Soak:
    """`run` beside the caller, until cancelled; `begin` sets the pace. Replicas are called in turn."""

    def __init__(self, replicas: Sequence[Replica], definition_id: str, job_type: str, workers: int) -> None:
        self._replicas = itertools.cycle(replicas)
        self._definition_id = definition_id
        self._job_type = job_type
        self._workers = workers
        self._session: aiohttp.ClientSession
        self._group: asyncio.TaskGroup
        self._latencies_s: list[float] = []
        self._took_s = time.monotonic()
        self.started = 0
        self.completed = 0
        self.refused = 0
        """Calls that were not answered as they should be."""
        self._told = (0, 0, 0)

    async def run(self, ready: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=_CONNECTIONS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session,
            asyncio.TaskGroup() as self._group,
        ):
            for number in range(self._workers):
                self._group.create_task(self._work(f"soak-{number}"))
            ready.set()

    async def as_fast_as_possible(self, for_s: float, callers: int) -> float:
        """So many callers, one start after the other; returns how many instances were completed in a second."""
        until_s, before = time.monotonic() + for_s, self.completed

        async def go_on() -> None:
            while time.monotonic() < until_s:
                await self._start()

        await asyncio.gather(*(go_on() for _ in range(callers)))
        return (self.completed - before) / for_s

    async def at_pace(self, per_s: float, for_s: float, in_hand_max: int) -> None:
        """Each start at its time, whatever became of those before; one that would be one too many is left out."""
        began_s, made = time.monotonic(), 0
        running: set[asyncio.Task[None]] = set()
        while (elapsed_s := time.monotonic() - began_s) < for_s:
            while made < elapsed_s * per_s:
                made += 1
                if len(running) < in_hand_max:
                    task = self._group.create_task(self._start())
                    running.add(task)
                    task.add_done_callback(running.discard)
            await asyncio.sleep(_TICK_S)
        if running:
            await asyncio.wait(running)

    def sample(self) -> Mapping[str, Any]:
        """What happened since the last one."""
        now_s, counted = time.monotonic(), (self.started, self.completed, self.refused)
        over_s, latencies_s = now_s - self._took_s, self._latencies_s
        started, completed, refused = (now - before for now, before in zip(counted, self._told, strict=True))
        self._took_s, self._latencies_s, self._told = now_s, [], counted
        return {
            "over_s": round(over_s, 3),
            "started": started,
            "completed": completed,
            "refused": refused,
            "p99_ms": round(nearest_rank(latencies_s, 0.99) * 1000, 2),
        }

    async def _start(self) -> None:
        body = {"definitionId": self._definition_id, "variables": {"amount": self.started % 1000}}
        status, _ = await self._timed("/v1/instances", body)
        self.started += status == 201
        if status != 201:
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _work(self, worker_id: str) -> None:
        poll = {
            "workerId": worker_id,
            "jobTypes": [self._job_type],
            "maxJobs": _POLL_JOBS,
            "waitMs": _POLL_WAIT_MS,
        }
        while True:
            status, answer = await self._call("/v1/jobs/poll", poll)
            if status != 200:
                await asyncio.sleep(_AGAIN_AFTER_S)
                continue
            await asyncio.gather(*(self._complete(job, worker_id) for job in answer["jobs"] or ()))

    async def _complete(self, job: Mapping[str, Any], worker_id: str) -> None:
        body = {"workerId": worker_id, "variables": {"done": True}, "leaseToken": job["leaseToken"]}
        while True:
            status, _ = await self._timed(f"/v1/jobs/{job['id']}/complete", body)
            if 200 <= status < 300:
                self.completed += 1
                return
            if 400 <= status < 500 and status != 429:
                return
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _timed(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        began_s = time.monotonic()
        answered = await self._call(path, body)
        self._latencies_s.append(time.monotonic() - began_s)
        return answered

    async def _call(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Status and body; 0 without an answer."""
        replica = next(self._replicas)
        try:
            async with self._session.post(
                replica.rest_url + path,
                data=msgspec.json.encode(body),
                headers=headers_of(replica, has_body=True),
                ssl=trust_of(replica),
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.refused += 1
            return 0, None
        self.refused += response.status >= 300
        return response.status, msgspec.json.decode(raw) if raw.strip() else None

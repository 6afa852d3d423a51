"""A poll whose caller has gone leaves no lease behind: what it was about to get is given back at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.api.gen import workflow_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLLS = 200
TOGETHER = 10
CANCELLED_WITHIN_S = 0.012
"""About as long as it takes from a start to the answer of the poll that waits for its job."""

Poll = Callable[[str], Awaitable[list[str]]]
"""As the worker of that id; the ids of the jobs that the caller has got in hand."""


async def got_or_given_back(one: Running, poll: Poll) -> None:
    """Polls are cancelled around the moment of their answer; every job that is leased in the end is in the hands of a
    caller.
    """
    await one.define(service("a", "end"), END)
    chance = random.Random(15)
    held: set[str] = set()
    answered = 0
    for turn in range(POLLS // TOGETHER):
        polls = [asyncio.create_task(poll(f"w{turn}-{n}")) for n in range(TOGETHER)]
        await eventually(lambda: one.node.polls.parked == TOGETHER)
        starts = [asyncio.create_task(one.start()) for _ in range(TOGETHER)]
        delays = sorted(chance.uniform(0, CANCELLED_WITHIN_S) for _ in polls)
        passed_s = 0.0
        for task, at_s in zip(polls, delays, strict=True):
            await asyncio.sleep(at_s - passed_s)
            passed_s = at_s
            task.cancel()
        for found in await asyncio.gather(*polls, return_exceptions=True):
            if isinstance(found, list):
                answered += 1
                held.update(found)
        await asyncio.gather(*starts)
        await eventually(lambda: one.node.polls.parked == 0)
        # What is given back may be wanted by nobody: it is taken out of the way of the next turn.
        await one.node.polls.drain()
        for job in await one.poll("do-a", worker="rest", most=100):
            held.add(job.id)
    leased = {row["id"] for row in await one.rows("SELECT id FROM job WHERE status = 'LOCKED'")}
    lost = leased - held
    assert answered < POLLS, "none was cancelled before its answer"
    assert not lost, f"{len(lost)} of {POLLS} leases are with nobody; {answered} polls were answered in time"


async def test_over_grpc(boot: Boot) -> None:
    one = await boot()
    assert one.node.grpc is not None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{one.node.grpc.port}") as channel:
        call: Any = channel.unary_unary(
            "/workflow.v1.WorkflowEngine/PollJobs",
            request_serializer=pb.PollJobsRequest.SerializeToString,
            response_deserializer=pb.PollJobsResponse.FromString,
        )

        async def poll(worker: str) -> list[str]:
            answer = await call(
                pb.PollJobsRequest(worker_id=worker, job_types=["do-a"], max_jobs=1, wait_ms=20_000)
            )
            return [job.id for job in answer.jobs]

        await got_or_given_back(one, poll)


async def test_over_rest(boot: Boot) -> None:
    one = await boot()

    async def poll(worker: str) -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.node.rest.port)
        body = json.dumps({"workerId": worker, "jobTypes": ["do-a"], "maxJobs": 1, "waitMs": 20_000}).encode()
        writer.write(
            b"POST /v1/jobs/poll HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            answer = json.loads(await reader.readexactly(length))
            return [job["id"] for job in answer["jobs"]]
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    await got_or_given_back(one, poll)

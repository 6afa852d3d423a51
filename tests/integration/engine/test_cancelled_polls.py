"""A poll whose caller has gone leaves no lease behind: what it was about to get is given back at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Callable, Coroutine
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

Poll = Callable[[str], Coroutine[Any, Any, list[str]]]
"""As the worker of that id; the ids of the jobs that the caller has got in hand, also when it is cancelled."""


async def leases_of_nobody(one: Running, poll: Poll) -> tuple[int, int]:
    """How many leases no caller has after polls were cancelled around the moment of their answer, and how many polls
    were answered.
    """
    await one.define(service("a", "end"), END)
    chance = random.Random(15)
    held: set[str] = set()
    answered = 0
    for turn in range(POLLS // TOGETHER):
        polls = [asyncio.create_task(poll(f"w{turn}-{n}")) for n in range(TOGETHER)]
        await eventually(lambda: one.node.polls.parked == TOGETHER)
        starts = [asyncio.create_task(one.start()) for _ in range(TOGETHER)]
        passed_s = 0.0
        for task, at_s in zip(
            polls, sorted(chance.uniform(0, CANCELLED_WITHIN_S) for _ in polls), strict=True
        ):
            await asyncio.sleep(at_s - passed_s)
            passed_s = at_s
            task.cancel()
        for found in await asyncio.gather(*polls, return_exceptions=True):
            if isinstance(found, list) and found:
                answered += 1
                held.update(found)
        await asyncio.gather(*starts)
        await eventually(lambda: one.node.polls.parked == 0)
        await one.node.polls.drain()
        # What was given back, or met no poll, is out of the way of the next turn.
        held.update(job.id for job in await one.poll("do-a", worker="rest", most=100))
    assert 0 < answered < POLLS
    rows = await one.rows("SELECT id FROM job WHERE status = 'LOCKED'")
    return len({row["id"] for row in rows} - held), answered


async def test_over_grpc(boot: Boot) -> None:
    """An answer that left before the cancellation came may be lost on its way: nobody can know. No other is lost."""
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

        lost, answered = await leases_of_nobody(one, poll)
    method = "/workflow.v1.WorkflowEngine/PollJobs"
    left = one.node.metrics.registry.get_sample_value(
        "grpc_requests_duration_seconds_count", {"method": method, "code": "OK"}
    )
    assert left is not None
    assert lost <= left - answered, f"{lost} leases are with nobody, {left} answers left, {answered} arrived"


async def test_over_rest(boot: Boot) -> None:
    """What is in the caller's hands is what had reached its socket before it closed that."""
    one = await boot()
    loop = asyncio.get_running_loop()

    async def poll(worker: str) -> list[str]:
        body = json.dumps({"workerId": worker, "jobTypes": ["do-a"], "maxJobs": 1, "waitMs": 20_000}).encode()
        received = b""
        with socket.socket() as own:
            own.setblocking(False)
            await loop.sock_connect(own, ("127.0.0.1", one.node.rest.port))
            await loop.sock_sendall(own, post("/v1/jobs/poll", body))
            try:
                while not received.endswith(b"}\n"):
                    received += await loop.sock_recv(own, 65536)
            except asyncio.CancelledError:
                with contextlib.suppress(BlockingIOError):
                    received += own.recv(65536)
        content = received.partition(b"\r\n\r\n")[2]
        return [job["id"] for job in json.loads(content)["jobs"]] if content else []

    lost, _ = await leases_of_nobody(one, poll)
    assert lost == 0


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

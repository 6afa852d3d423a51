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
from windlass_client import Client, WindlassError

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


WAIT_S, DEADLINE_S = 20.0, 0.6
"""What a poll asks for, and after what its caller gives up."""


async def test_a_deadline_over_grpc_that_is_shorter_than_the_poll_loses_no_lease(boot: Boot) -> None:
    """The engine knows it and answers before, so that what it has leased by then arrives."""
    one = await boot()
    assert one.node.grpc is not None
    await one.define(service("a", "end"), END)
    async with Client(
        f"grpc://127.0.0.1:{one.node.grpc.port}", timeout_s=DEADLINE_S - WAIT_S, retry_for_s=0
    ) as client:
        held, refusals = await _polls_with_a_deadline(one, client)
    rows = await one.rows("SELECT id FROM job WHERE status = 'LOCKED'")
    assert {row["id"] for row in rows} == held
    assert held
    assert refusals == []


async def test_a_timeout_over_rest_that_is_shorter_than_the_poll_gives_its_lease_back(boot: Boot) -> None:
    """The engine cannot know it, and sees the connection end."""
    one = await boot()
    await one.define(service("a", "end"), END)
    async with Client(
        f"http://127.0.0.1:{one.node.rest.port}", timeout_s=DEADLINE_S - WAIT_S, retry_for_s=0
    ) as client:
        held, refusals = await _polls_with_a_deadline(one, client)
    await eventually(lambda: one.node.polls.parked == 0)
    await one.node.polls.drain()
    rows = await one.rows("SELECT id FROM job WHERE status = 'LOCKED'")
    lost = {row["id"] for row in rows} - held
    # What was written before the connection ended may be on its way: it is told from the others by nobody.
    assert len(lost) <= len(refusals) // 10
    assert held
    assert refusals


async def _polls_with_a_deadline(one: Running, client: Client) -> tuple[set[str], list[WindlassError]]:
    """Jobs in hand, and the errors that polls ended in. A client adds a poll's wait to its time-out, which is below
    zero here.
    """
    held: set[str] = set()
    refusals: list[WindlassError] = []
    over = asyncio.Event()

    async def ask(worker: str) -> None:
        while not over.is_set():
            try:
                held.update(job.id for job in await client.poll(worker, ["do-a"], wait_s=WAIT_S))
            except WindlassError as error:
                refusals.append(error)

    workers = [asyncio.create_task(ask(f"w-{number}")) for number in range(8)]
    chance = random.Random(6)
    for _ in range(150):
        await one.start()
        await asyncio.sleep(chance.uniform(0, 0.04))
    over.set()
    await asyncio.gather(*workers)
    return held, refusals

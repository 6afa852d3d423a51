"""More calls than a gRPC connection carries at a time: the others wait at the client, as the limits table says, and
polls do not take all of the places.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import grpc
import pytest
from engine_process import RunWindlass
from grpc_health.v1 import health_pb2
from workflow import END, service

from patience import eventually
from windlass.api.gen import workflow_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 200
MANY = 1_100
"""The default limit is 1,000."""
BOUND_S = 5.0
HEALTH = "/grpc.health.v1.Health/Check"
COMPLETE = "/workflow.v1.WorkflowEngine/CompleteJob"
POLL = "/workflow.v1.WorkflowEngine/PollJobs"


async def test_calls_beyond_the_cap_of_a_connection_wait_and_none_is_refused(
    windlass: RunWindlass, dsn: str
) -> None:
    process, _ = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_GRPC_STREAMS_MAX=str(STREAMS))
    port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    request = pb.PollJobsRequest(worker_id="w", job_types=["nothing"], wait_ms=500).SerializeToString()

    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:

        async def poll() -> str:
            try:
                call: Any = channel.unary_unary(POLL)
                await call(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            return "OK"

        for _ in ("the first burst", "one over a connection whose settings are known"):
            told = await asyncio.gather(*(poll() for _ in range(5 * STREAMS)))
            assert Counter(told) == {"OK": 5 * STREAMS}


async def test_polls_that_wait_leave_room_for_other_calls_of_their_connection(
    windlass: RunWindlass, dsn: str
) -> None:
    """They are as many as a connection carries and some more, and each is made again when it is answered."""
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:

        async def call(method: str, request: Any) -> bytes:
            made: Any = channel.unary_unary(method)
            answer: bytes = await made(request.SerializeToString(), timeout=60)
            return answer

        async def poll_on() -> None:
            while True:
                await call(POLL, pb.PollJobsRequest(worker_id="w", job_types=["nothing"], wait_ms=20_000))

        polls = [asyncio.ensure_future(poll_on()) for _ in range(MANY)]

        async def ended_early() -> bool:
            return 'polls_ended_early_total{api="grpc"} 0.0' not in await engine.metrics()

        await eventually(ended_early)
        began_s = time.monotonic()
        wanted = pb.PollJobsRequest(worker_id="w", job_types=[workflow.job_type("a")])
        (job,) = pb.PollJobsResponse.FromString(await call(POLL, wanted)).jobs
        done = pb.CompleteJobRequest(job_id=job.id, worker_id="w", lease_token=job.lease_token)
        await call(COMPLETE, done)
        health = await call(HEALTH, health_pb2.HealthCheckRequest())
        elapsed_s = time.monotonic() - began_s
        failed = [each.exception() for each in polls if each.done()]
        for each in polls:
            each.cancel()
    assert health_pb2.HealthCheckResponse.FromString(health).status == 1
    assert failed == []
    assert elapsed_s < BOUND_S
    assert 'instances_completed_total{outcome="completed"} 1.0' in await engine.metrics()

"""More calls than a gRPC connection carries at a time: the others wait at the client, as the limits table says."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from engine_process import RunWindlass

from windlass.api.gen import workflow_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 200
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

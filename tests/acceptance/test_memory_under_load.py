"""The memory budget under real load: many large bodies at once, and small calls beside them, of one process."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from engine_client import EngineClient
from engine_process import EngineProcess, RunWindlass
from workflow import END, user_task

from patience import eventually
from windlass.api.gen import workflow_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1024 * 1024
LIMIT_BYTES = 512 * MIB
LARGE = 15_000_000
SMALL_CALLS = 10
REFUSED_MIN = 200
RESTING_BYTES = 150 * MIB
START = "/workflow.v1.WorkflowEngine/StartInstance"
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
LARGE_VALUES = {
    "a text": '"' + "x" * LARGE + '"',
    "empty arrays": "[" + "[]," * (LARGE // 3) + "[]]",
    "doubles": "[" + "1.5," * (LARGE // 4) + "1]",
}


def peak_bytes(process: EngineProcess) -> int:
    return told_bytes(process, "VmHWM")


def told_bytes(process: EngineProcess, name: str) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def small_calls(engine: EngineClient, definition_id: str) -> list[int]:
    statuses = []
    for _ in range(SMALL_CALLS):
        statuses.append((await engine.post("/v1/instances", {"definitionId": definition_id})).status)
        await asyncio.sleep(0.1)
    return statuses


@pytest.mark.parametrize("value", LARGE_VALUES)
async def test_many_large_rest_bodies_at_once_stay_within_the_budget(
    windlass: RunWindlass, dsn: str, value: str
) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_MEMORY_BYTES_MAX=str(LIMIT_BYTES))
    workflow = (await engine.define(user_task("u"), END)).id
    body = b'{"definitionId":%b,"variables":{"a":%b}}' % (
        json.dumps(workflow).encode(),
        LARGE_VALUES[value].encode(),
    )

    async def start(session: aiohttp.ClientSession) -> int:
        # A refusal may come while the body is sent; whoever reads it in time knows why.
        try:
            async with session.post(f"{process.rest_url}/v1/instances", data=io.BytesIO(body)) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 503

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(90)) as session:
        starts = asyncio.gather(*(start(session) for _ in range(16)))
        statuses = await small_calls(engine, workflow)
        told = Counter(await starts)
    assert peak_bytes(process) < LIMIT_BYTES
    assert statuses == [201] * SMALL_CALLS
    assert told[201] >= 1
    assert set(told) <= {201, 503}


async def test_many_large_grpc_messages_at_once_stay_within_the_budget(
    windlass: RunWindlass, dsn: str
) -> None:
    process, engine = await windlass.serving(
        WE_POSTGRES_DSN=dsn,
        WINDLASS_MEMORY_BYTES_MAX=str(LIMIT_BYTES),
        WINDLASS_BODY_BYTES_MAX=str(24 * MIB),
    )
    workflow = (await engine.define(user_task("u"), END)).id
    port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    request = pb.StartInstanceRequest(definition_id=workflow)
    request.variables.update({"a": "x" * LARGE})
    message = request.SerializeToString()

    async def start(number: int) -> str:
        options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1), ("number", number)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            try:
                call: Any = channel.unary_unary(START)
                await call(message, timeout=90)
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return "OK"

    starts = asyncio.gather(*(start(number) for number in range(12)))
    statuses = await small_calls(engine, workflow)
    told = Counter(await starts)
    assert peak_bytes(process) < LIMIT_BYTES
    assert statuses == [201] * SMALL_CALLS
    assert told["OK"] >= 1
    assert set(told) <= {"OK", "UNAVAILABLE"}
    assert f"windlass_memory_limit_bytes {LIMIT_BYTES:.8e}" in await engine.metrics()


async def test_grpc_messages_that_find_no_room_leave_nothing_behind(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(
        WE_POSTGRES_DSN=dsn, WINDLASS_MEMORY_BYTES_MAX=str(LIMIT_BYTES // 2)
    )
    workflow = (await engine.define(user_task("u"), END)).id
    port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    request = pb.StartInstanceRequest(definition_id=workflow)
    request.variables.update({"a": "x" * (LARGE // 3)})
    message = request.SerializeToString()
    told: Counter[str] = Counter()

    async def flood(number: int) -> None:
        options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1), ("number", number)]
        while told["UNAVAILABLE"] < REFUSED_MIN:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                try:
                    call: Any = channel.unary_unary(START)
                    await call(message, timeout=60)
                except grpc.aio.AioRpcError as error:
                    told[error.code().name] += 1
                else:
                    told["OK"] += 1

    await asyncio.gather(*(flood(number) for number in range(12)))
    assert set(told) <= {"OK", "UNAVAILABLE"}
    assert peak_bytes(process) < LIMIT_BYTES // 2
    await eventually(lambda: told_bytes(process, "RssAnon") < RESTING_BYTES)

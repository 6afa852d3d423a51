"""While what was taken waits for the database, new work is refused at once: it is not done, and its callers know it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import asyncpg
import grpc
import pytest
from engine_client import Answer, EngineClient
from engine_process import EngineProcess, RunWindlass
from workflow import END, service, user_task, wait

from patience import eventually
from windlass.api.gen import workflow_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUEUE_S = 1.0
HELD_S = 6.0
BURST = 400
EARLY_S = QUEUE_S / 2
"""A refusal comes without waiting for anything; the machine may be busy."""
STOP_WRITES = "BEGIN; LOCK TABLE workflow_instance IN EXCLUSIVE MODE"
"""As a long migration or a stuck transaction does; reads go on."""


async def timed(engine: EngineClient, path: str, body: object = None) -> tuple[Answer, float]:
    began_s = time.monotonic()
    answer = await engine.post(path, body)
    return answer, time.monotonic() - began_s


async def count(connection: Any, definition_id: str) -> int:
    text = "SELECT count(*) FROM workflow_instance WHERE definition_id = $1"
    return int(await connection.fetchval(text, definition_id))


def metric(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def grpc_start(process: EngineProcess, definition_id: str) -> tuple[str, dict[str, Any]]:
    port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    request = pb.StartInstanceRequest(definition_id=definition_id)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/workflow.v1.WorkflowEngine/StartInstance")
        try:
            await call(request.SerializeToString(), timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code().name, dict(error.trailing_metadata() or ())
    return "OK", {}


@pytest.mark.limit("time that a call would wait for its turn")
async def test_new_work_is_refused_early_and_not_done_while_the_queue_stands(
    windlass: RunWindlass, dsn: str
) -> None:
    process, engine = await windlass.serving(
        WE_POSTGRES_DSN=dsn,
        WINDLASS_QUEUE_SECONDS_MAX=str(QUEUE_S),
        WINDLASS_DATABASE_TIMEOUT_SECONDS="60",
        WINDLASS_REQUEST_TIMEOUT_SECONDS="60",
    )
    workflow = await engine.define(service("a"), END)
    parked = await (await engine.define(wait("w"), END)).start()
    task = await (await engine.define(user_task("u"), END)).start()
    started = [await workflow.start() for _ in range(5)]
    done, failed, *_ = await workflow.lease("a")
    observer = await asyncpg.connect(dsn)
    before = await count(observer, workflow.id)
    assert before == len(started)
    start = {"definitionId": workflow.id}

    blocker = await asyncpg.connect(dsn)
    await blocker.execute(STOP_WRITES)
    # Some are with the database, the rest waits for them; nobody is refused for what has just begun to wait.
    waiting = [asyncio.create_task(timed(engine, "/v1/instances", start)) for _ in range(5)]
    await asyncio.sleep(0.3)
    waiting += [asyncio.create_task(timed(engine, "/v1/instances", start)) for _ in range(20)]
    await asyncio.sleep(QUEUE_S + 0.5)
    completing = asyncio.create_task(
        engine.post(f"/v1/jobs/{done['id']}/complete", {"workerId": "w", "variables": {"done": 1}})
    )
    failing = asyncio.create_task(
        engine.post(f"/v1/jobs/{failed['id']}/fail", {"workerId": "w", "errorMessage": "no"})
    )

    burst = await asyncio.gather(*(timed(engine, "/v1/instances", start) for _ in range(BURST)))
    beside = [
        await timed(engine, f"/v1/instances/{parked['id']}/signals/w", {}),
        await timed(engine, f"/v1/instances/{task['id']}/user-tasks/u/complete", {}),
    ]
    for answer, _ in [*burst, *beside]:
        reason = answer.refused(429, "overloaded")
        assert "WINDLASS_QUEUE_SECONDS_MAX" in reason
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    took_s = sorted(took_s for _, took_s in burst)
    assert took_s[BURST // 2] < 60 / BURST * 10
    assert max(took_s for _, took_s in beside) < EARLY_S
    status, trailer = await grpc_start(process, workflow.id)
    assert status == "RESOURCE_EXHAUSTED"
    assert 1000 <= int(trailer["grpc-retry-pushback-ms"]) <= 60_000
    # What is not held up by the database goes on.
    assert (await engine.get("/healthz")).status == 200
    assert (await engine.get(f"/v1/instances/{parked['id']}")).status == 200
    text = await engine.metrics()
    assert metric(text, "windlass_calls_shed_total") == BURST + len(beside) + 1
    assert metric(text, "windlass_queue_wait_seconds") > QUEUE_S
    assert not completing.done()
    assert not failing.done()

    await blocker.close()
    assert (await completing).status == 204
    assert (await failing).status == 204
    taken = [answer.status for answer, _ in await asyncio.gather(*waiting)]
    assert taken == [201] * 25
    # The queue is gone, and with it the refusals.
    after = await asyncio.gather(*(timed(engine, "/v1/instances", start) for _ in range(100)))
    assert [answer.status for answer, _ in after] == [201] * 100
    assert (await engine.signal(parked, "w", {})).status == 204
    assert await count(observer, workflow.id) == before + 25 + 100
    await observer.close()
    told = process.log(msg="calls: refused, too much waits before them")
    assert 1 <= len(told) <= 3
    assert not [line for line in process.log(msg="rest request") if line["status"] == 429]


async def test_callers_are_told_a_time_after_which_they_are_taken(windlass: RunWindlass, dsn: str) -> None:
    """More starts than the queue may hold, made by callers that come again as they are told: each is done once."""
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_QUEUE_SECONDS_MAX="0.2")
    workflow = await engine.define(service("a"), END)
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
        "CREATE TRIGGER slowly AFTER INSERT ON workflow_instance FOR EACH STATEMENT EXECUTE FUNCTION slowly()"
    )
    refused = 0

    async def start(number: int) -> None:
        nonlocal refused
        body = {"definitionId": workflow.id, "variables": {"number": number, "text": "x" * 40_000}}

        async def taken() -> bool:
            nonlocal refused
            answer = await engine.post("/v1/instances", body)
            if answer.status == 429:
                refused += 1
                await asyncio.sleep(min(2.0, float(answer.headers["Retry-After"])))
                return False
            assert answer.status == 201, answer
            return True

        # Two hundred a second, of which the database takes less than half.
        await asyncio.sleep(number / 200)
        await eventually(taken, 90)

    try:
        await asyncio.gather(*(start(number) for number in range(300)))
        rows = await connection.fetch(
            "SELECT (variables->>'number')::int AS number FROM workflow_instance WHERE definition_id = $1",
            workflow.id,
        )
    finally:
        await connection.execute("DROP TRIGGER slowly ON workflow_instance; DROP FUNCTION slowly()")
        await connection.close()
    assert refused > 0
    assert sorted(row["number"] for row in rows) == list(range(300))
    assert json.loads((await engine.get("/health/detailed")).body)["lanes"]["waitSeconds"] < 0.2

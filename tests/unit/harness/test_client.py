"""What a recording client sends, what it makes of the answer, and what it writes down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from small_engine import SmallEngine

from seatrial.client import CallFailed, Job, RecordingClient
from seatrial.cluster import Replica
from seatrial.history import Op, Recorder

JOB = Job("j1", "i1", "e1", "pay", 0, lease_token="t1")


def ops(folder: Path) -> list[Op]:
    return [
        msgspec.json.decode(line, type=Op) for line in (folder / "history.jsonl").read_bytes().splitlines()
    ]


@pytest.fixture
async def engine() -> AsyncIterator[SmallEngine]:
    async with SmallEngine() as engine:
        yield engine


@pytest.fixture
async def make(tmp_path: Path, engine: SmallEngine) -> AsyncIterator[Callable[..., RecordingClient]]:
    recorder = Recorder(tmp_path)
    made: list[RecordingClient] = []

    def client(**changes: Any) -> RecordingClient:
        options = {"process": "client-0", "replicas": [engine.replica], "rng": random.Random(1), **changes}
        made.append(RecordingClient(recorder=recorder, **options))
        return made[-1]

    yield client
    for each in made:
        await each.close()
    recorder.close()


async def test_a_start_that_succeeds_is_invoke_then_ok_with_the_engines_id(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    answer = await make().start("loan", {"amount": 3}, business_key="k1")

    assert answer.ok
    assert answer.id == "replica-0-i1"
    assert engine.requests == [
        ("POST", "/v1/instances", {"definitionId": "loan", "variables": {"amount": 3}, "businessKey": "k1"})
    ]
    invoke, end = ops(tmp_path)
    assert (invoke.type, invoke.f, invoke.process, invoke.node) == (
        "invoke",
        "start",
        "client-0",
        "replica-0",
    )
    assert invoke.value == {"definition_id": "loan", "business_key": "k1", "variables": {"amount": 3}}
    assert (end.type, end.call, end.error) == ("ok", invoke.call, None)
    assert end.value == {"instance_id": "replica-0-i1", "status": "COMPLETED"}


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [(400, "fail", "no-good"), (409, "fail", "no-good"), (500, "info", "no-good"), (503, "info", "no-good")],
)
async def test_4xx_certainly_did_nothing_and_5xx_leaves_it_open(
    make: Callable[..., RecordingClient],
    engine: SmallEngine,
    tmp_path: Path,
    status: int,
    outcome: str,
    code: str,
) -> None:
    async def refuse(request: web.Request, body: Any) -> web.Response:
        return web.json_response({"error": "no-good", "reason": "because"}, status=status)

    engine.script = refuse
    answer = await make().signal("i1", "paper")

    assert (answer.outcome, answer.status, answer.code, answer.message) == (outcome, status, code, "because")
    end = ops(tmp_path)[-1]
    assert end.type == outcome
    assert end.error == {"code": code, "status": status, "message": "because"}
    with pytest.raises(CallFailed, match=f"HTTP {status}, no-good"):
        _ = answer.id


async def test_a_refused_connection_did_nothing(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    replica = engine.replica
    await engine.close()
    answer = await make(replicas=[replica]).cancel("i1", "too late")

    assert answer.refused
    assert ops(tmp_path)[-1].type == "fail"
    assert (ops(tmp_path)[-1].error or {})["status"] == 0
    assert (ops(tmp_path)[-1].error or {})["code"] == "connection-refused"


async def test_no_answer_in_time_leaves_it_open(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    release = asyncio.Event()

    async def hang(request: web.Request, body: Any) -> None:
        await release.wait()

    engine.script = hang
    answer = await make().complete(JOB, "w1", timeout_s=0.05)
    release.set()

    assert (answer.outcome, answer.code, answer.status) == ("info", "timeout", 0)
    assert ops(tmp_path)[-1].type == "info"


async def test_a_connection_lost_after_sending_leaves_it_open(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    async def drop(request: web.Request, body: Any) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    engine.script = drop
    answer = await make().user_task("i1", "review", {"verdict": "yes"})

    assert (answer.outcome, answer.code, answer.status) == ("info", "connection-lost", 0)
    assert ops(tmp_path)[-1].type == "info"
    assert engine.requests == [
        (
            "POST",
            "/v1/instances/i1/user-tasks/review/complete",
            {"workerId": "client-0", "variables": {"verdict": "yes"}},
        )
    ]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status": "ACTIVE"}', b""])
async def test_a_success_that_cannot_be_read_leaves_it_open(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path, body: bytes
) -> None:
    async def nonsense(request: web.Request, sent: Any) -> web.Response:
        return web.Response(body=body, status=201)

    engine.script = nonsense
    assert (await make().start("loan", {})).code == "unreadable-answer"
    assert ops(tmp_path)[-1].type == "info"


async def test_a_call_that_the_harness_gives_up_has_no_end(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request, body: Any) -> None:
        arrived.set()
        await release.wait()

    engine.script = hang
    call = asyncio.create_task(make().cancel("i1", "changed my mind"))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()

    assert [op.type for op in ops(tmp_path)] == ["invoke"]


async def test_a_poll_asks_for_its_lease_and_wait_and_records_jobs_without_variables(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    engine.add_job("j7", "pay", retries=2, variables={"amount": 9})
    answer = await make().poll("w1", ["pay"], max_jobs=4, lease_s=5.0, wait_s=1.5)

    assert engine.requests[0][2] == {
        "workerId": "w1", "jobTypes": ["pay"], "maxJobs": 4, "leaseSeconds": 5, "waitMs": 1500,
    }  # fmt: skip
    (job,) = answer.jobs
    assert (job.job_id, job.instance_id, job.variables, job.lease_token) == (
        "j7",
        "of-j7",
        {"amount": 9},
        "token-1",
    )
    assert ops(tmp_path)[-1].value == {
        "jobs": [
            {
                "job_id": "j7",
                "instance_id": "of-j7",
                "step_id": "step",
                "step_execution_id": "step-j7",
                "job_type": "pay",
                "lease_token": "token-1",
                "locked_at": "2026-01-01T00:00:00Z",
                "lock_expires_at": "2026-01-01T00:00:30Z",
                "retries_remaining": 2,
            }
        ]
    }


async def test_a_poll_that_gets_null_got_nothing(
    make: Callable[..., RecordingClient], engine: SmallEngine
) -> None:
    async def null(request: web.Request, body: Any) -> web.Response:
        return web.json_response({"jobs": None})

    engine.script = null
    answer = await make().poll("w1", ["pay"])
    assert answer.ok
    assert answer.jobs == ()


async def test_every_completion_carries_a_mark_of_its_own(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    client = make()
    await client.complete(JOB, "w1", {"score": 7})
    await client.complete(JOB, "w1", {"score": 7})

    bodies = [body for _, body in engine.completed]
    marks = [[name for name in body["variables"] if name.startswith("done:j1:")] for body in bodies]
    assert [len(mark) for mark in marks] == [1, 1]
    assert marks[0] != marks[1]
    assert all(body["variables"]["score"] == 7 and body["leaseToken"] == "t1" for body in bodies)
    recorded = [op.value for op in ops(tmp_path) if op.type == "invoke"]
    assert [value["variables"] for value in recorded] == [body["variables"] for body in bodies]
    assert recorded[0]["lease_token"] == "t1"


async def test_a_client_of_the_old_wire_sends_no_token(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    client = make(send_token=False)
    await client.complete(JOB, "w1")
    await client.fail_job(JOB, "w1", "broken", retryable=True)

    assert "leaseToken" not in engine.completed[0][1]
    assert engine.failed[0][1] == {"workerId": "w1", "errorMessage": "broken", "retryable": True}
    assert [op.value["lease_token"] for op in ops(tmp_path) if op.type == "invoke"] == [None, None]


async def test_each_call_draws_its_replica_and_the_same_seed_draws_the_same(
    make: Callable[..., RecordingClient], engine: SmallEngine
) -> None:
    async with SmallEngine("replica-1") as other:
        replicas = [engine.replica, other.replica]
        drawn = [
            [(await client.get_instance("i1")).node for _ in range(30)]
            for client in (make(replicas=replicas, rng=random.Random(seed)) for seed in (5, 5, 6))
        ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {"replica-0", "replica-1"}


@pytest.mark.parametrize(("keeps", "connections"), [(True, 1), (False, 3)])
async def test_one_that_keeps_no_connection_opens_one_for_each_call(
    make: Callable[..., RecordingClient], engine: SmallEngine, keeps: bool, connections: int
) -> None:
    seen = set()

    async def look(request: web.Request, body: Any) -> None:
        assert request.transport is not None
        seen.add(request.transport.get_extra_info("peername"))

    engine.script = look
    client = make(keeps_connections=keeps)
    for _ in range(3):
        assert (await client.list_instances()).ok
    assert len(seen) == connections


def test_one_that_keeps_no_connection_speaks_rest_alone(make: Callable[..., RecordingClient]) -> None:
    replica = Replica("replica-0", "http://127.0.0.1:1", None, "127.0.0.1:2")
    with pytest.raises(ValueError, match="gRPC keeps its connections"):
        make(replicas=[replica], transports=("rest", "grpc"), keeps_connections=False)


async def test_a_named_replica_is_asked_and_an_unknown_one_is_refused(
    make: Callable[..., RecordingClient], engine: SmallEngine
) -> None:
    async with SmallEngine("replica-1") as other:
        client = make(replicas=[engine.replica, other.replica])
        assert {(await client.history("i1", replica="replica-1")).node for _ in range(8)} == {"replica-1"}
        with pytest.raises(ValueError, match="no replica 'replica-9'; this cluster has replica-0, replica-1"):
            await client.history("i1", replica="replica-9")


async def test_a_probe_takes_any_status_for_an_answer(
    make: Callable[..., RecordingClient], engine: SmallEngine, tmp_path: Path
) -> None:
    async def not_ready(request: web.Request, body: Any) -> web.Response:
        return web.json_response({"ready": False, "reasons": ["database"]}, status=503)

    engine.script = not_ready
    answer = await make(process="probe-0").probe("replica-0", "/ready")

    assert (answer.ok, answer.status) == (True, 503)
    assert ops(tmp_path)[-1].value == {"status": 503, "body": {"ready": False, "reasons": ["database"]}}


async def test_lists_ask_only_for_what_was_given(
    make: Callable[..., RecordingClient], engine: SmallEngine
) -> None:
    await make().list_instances(definition_id="LOS::x", status="WAITING", page=2)
    assert engine.requests[0][1] == "/v1/instances?definitionId=LOS::x&status=WAITING&page=2&pageSize=200"


def test_a_client_needs_a_replica(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with pytest.raises(ValueError, match="client client-0: no replica"):
        RecordingClient("client-0", [], recorder, random.Random(1))
    recorder.close()

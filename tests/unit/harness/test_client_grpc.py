"""The recording client over gRPC, and over both: the same answers and the same history as over REST."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from aiohttp import web
from google.protobuf import json_format
from small_grpc_engine import SmallGrpcEngine

from patience import eventually
from seatrial.client import TRANSPORTS, Answer, Job, RecordingClient
from seatrial.cluster import Replica
from seatrial.cluster.port import Ports
from seatrial.cluster.proxy import Proxy
from seatrial.gen import workflow_pb2 as pb
from seatrial.history import Op, Recorder
from seatrial.workload.loan import loan

JOB = Job("j1", "i1", "e1", "pay", 0, lease_token="t1")
WITHIN_S = 20.0
Make = Callable[..., RecordingClient]


def ops(folder: Path) -> list[Op]:
    return [
        msgspec.json.decode(line, type=Op) for line in (folder / "history.jsonl").read_bytes().splitlines()
    ]


@pytest.fixture
async def engine() -> AsyncIterator[SmallGrpcEngine]:
    async with SmallGrpcEngine() as engine:
        yield engine


@pytest.fixture
async def make(tmp_path: Path, engine: SmallGrpcEngine) -> AsyncIterator[Make]:
    recorder = Recorder(tmp_path)
    made: list[RecordingClient] = []

    def client(transport: str = "grpc", **changes: Any) -> RecordingClient:
        options = {"process": "client-0", "replicas": [engine.replica], "rng": random.Random(1), **changes}
        made.append(RecordingClient(recorder=recorder, transports=TRANSPORTS[transport], **options))
        return made[-1]

    yield client
    for each in made:
        await each.close()
    recorder.close()


# The same as over REST -------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[RecordingClient], Awaitable[Answer]]] = {
    "upload": lambda client: client.upload({"id": "loan", "name": "Loan", "steps": []}),
    "start": lambda client: client.start("loan", {"amount": 3, "to": None}, business_key="k1"),
    "poll": lambda client: client.poll("w1", ["pay"], lease_s=30),
    "complete": lambda client: client.complete(JOB, "w1", {"score": 7}),
    "fail_job": lambda client: client.fail_job(JOB, "w1", "broken", retryable=True),
    "signal": lambda client: client.signal("i1", "paper", {"signed": True}),
    "user_task": lambda client: client.user_task("i1", "review", {"verdict": "yes"}),
    "cancel": lambda client: client.cancel("replica-0-i1", "too late"),
    "get_instance": lambda client: client.get_instance("replica-0-i1"),
    "list_instances": lambda client: client.list_instances(definition_id="loan", status="COMPLETED"),
    "history": lambda client: client.history("replica-0-i1"),
}
#: what the small engine's REST door has no route for
_NO_ROUTE = {"signal", "user_task", "cancel", "get_instance"}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_leaves_the_same_history_whichever_way_it_went(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path, name: str
) -> None:
    async def answers(request: web.Request, body: Any) -> web.Response | None:
        known = {"id": "replica-0-i1", "status": "COMPLETED", "variables": {"amount": 1.5}}
        return web.json_response(known) if name in _NO_ROUTE else None

    engine.script = answers
    seen = []
    for transport in ("rest", "grpc"):
        engine.instances = []
        engine.waiting = []
        engine._leases = 0
        engine.add_job("j7", "pay", retries=2, variables={"amount": 9})
        await make("grpc", process="first").start("loan", {"amount": 1.5})
        before = len(ops(tmp_path))
        answer = await CALLS[name](make(transport))
        assert answer.ok, answer
        invoke, end = ops(tmp_path)[before:]
        assert (invoke.transport, end.transport) == (transport, None)
        seen.append((invoke.f, invoke.node, invoke.value, end.type, end.value, end.error))
    assert seen[0] == seen[1]


async def test_bodies_have_the_shape_that_rest_gives_them(make: Make, engine: SmallGrpcEngine) -> None:
    client = make()
    started = await client.start("loan", {"amount": 3, "ratio": 1.5, "tags": ["new", {"of": None}]})
    assert started.body == {
        "id": "replica-0-i1",
        "definitionId": "loan",
        "definitionVersion": 1,
        "status": "COMPLETED",
        "currentStepIds": [],
        "variables": {"amount": 3, "ratio": 1.5, "tags": ["new", {"of": None}]},
        "startedAt": "2026-01-01T00:00:00Z",
        "completedAt": "2026-01-01T00:00:00Z",
    }
    assert isinstance(started.body["variables"]["amount"], int)
    listed = await client.list_instances(page=0)
    assert listed.body == {"items": [started.body], "total": 1}
    assert (await client.list_instances(status="WAITING")).body == {"items": [], "total": 0}
    assert (await client.history("i1")).body["items"] == [
        {
            "id": "step-of-i1",
            "instanceId": "i1",
            "stepId": "end",
            "stepType": "END",
            "attemptNumber": 1,
            "status": "COMPLETED",
            "startedAt": "2026-01-01T00:00:00Z",
            "endedAt": "2026-01-01T00:00:00Z",
            "failureReason": None,
        }
    ]


async def test_messages_carry_what_the_call_says(make: Make, engine: SmallGrpcEngine) -> None:
    client, old = make(), make(send_token=False)
    await client.poll("w1", ["pay", "ship"], max_jobs=4, lease_s=5.0, wait_s=1.5)
    await client.complete(JOB, "w1", {"score": 7})
    await old.fail_job(JOB, "w1", "broken", retryable=True)
    await client.signal("i1", "paper", {"signed": True})
    await client.user_task("i1", "review", {"verdict": "yes"})
    said = [(rpc, json_format.MessageToDict(message)) for rpc, message in engine.calls]
    (mark,) = (name for name in said[1][1]["variablesToSet"] if name.startswith("done:j1:"))
    assert said == [
        (
            "PollJobs",
            {"workerId": "w1", "jobTypes": ["pay", "ship"], "maxJobs": 4, "leaseSeconds": 5, "waitMs": 1500},
        ),
        (
            "CompleteJob",
            {"jobId": "j1", "workerId": "w1", "variablesToSet": {"score": 7, mark: True}, "leaseToken": "t1"},
        ),
        ("FailJob", {"jobId": "j1", "workerId": "w1", "retryable": True, "errorMessage": "broken"}),
        ("SignalWait", {"instanceId": "i1", "waitStepId": "paper", "variables": {"signed": True}}),
        (
            "CompleteUserTask",
            {
                "completedBy": "client-0",
                "result": {"verdict": "yes"},
                "instanceId": "i1",
                "userTaskStepId": "review",
            },
        ),
    ]


async def test_the_loan_is_uploaded_whole(make: Make, engine: SmallGrpcEngine) -> None:
    for document in loan().definitions:
        assert (await make().upload(document)).ok
        rpc, message = engine.calls[-1]
        assert rpc == "UploadDefinition"
        told = json_format.MessageToDict(message.definition)
        for step in told["steps"]:
            step["type"] = step["type"].removeprefix("STEP_TYPE_")
            for event in step.get("boundaryEvents", ()):
                event["type"] = event["type"].removeprefix("BOUNDARY_EVENT_TYPE_")
        assert told == document


async def test_a_definition_that_no_message_can_hold_is_refused_unsent(
    make: Make, engine: SmallGrpcEngine
) -> None:
    answer = await make().upload({"id": "x", "name": "x", "steps": [], "colour": "red"})
    assert (answer.outcome, answer.status, answer.code) == ("fail", 400, "bad-request")
    assert "colour" in answer.message
    assert engine.calls == []


# Leases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False], ids=["with locked_at", "without"])
async def test_a_lease_begins_when_the_engine_says_or_its_length_before_its_end(
    make: Make, engine: SmallGrpcEngine, told: bool
) -> None:
    async def one(rpc: str, request: Any, context: Any) -> Any:
        answer = pb.PollJobsResponse(jobs=[pb.Job(id="j", job_type="pay", retries_remaining=1)])
        answer.jobs[0].lock_expires_at.FromJsonString("2026-01-01T00:00:10.250001Z")
        if told:
            answer.jobs[0].locked_at.FromJsonString("2026-01-01T00:00:01.5Z")
        return answer

    engine.grpc_script = one
    (job,) = (await make().poll("w1", ["pay"], lease_s=5)).jobs
    assert job.lock_expires_at == "2026-01-01T00:00:10.250001Z"
    assert job.locked_at == ("2026-01-01T00:00:01.500Z" if told else "2026-01-01T00:00:05.250001+00:00")
    assert (job.lease_token, job.step_id, job.variables) == (None, None, {})


# How a call ends -------------------------------------------------------------------------------------------------

ENDS = {
    "INVALID_ARGUMENT": ("fail", 400, "bad-request"),
    "OUT_OF_RANGE": ("fail", 400, "bad-request"),
    "UNAUTHENTICATED": ("fail", 401, "unauthenticated"),
    "PERMISSION_DENIED": ("fail", 403, "forbidden"),
    "NOT_FOUND": ("fail", 404, "not-found"),
    "FAILED_PRECONDITION": ("fail", 409, "conflict"),
    "ALREADY_EXISTS": ("fail", 409, "conflict"),
    "RESOURCE_EXHAUSTED": ("fail", 413, "too-large"),
    "UNIMPLEMENTED": ("fail", 501, "not-implemented"),
    "CANCELLED": ("info", 500, "internal-error"),
    "UNKNOWN": ("info", 500, "internal-error"),
    "ABORTED": ("info", 500, "internal-error"),
    "INTERNAL": ("info", 500, "internal-error"),
    "DATA_LOSS": ("info", 500, "internal-error"),
    "UNAVAILABLE": ("info", 503, "unavailable"),
    "DEADLINE_EXCEEDED": ("info", 504, "http-504"),
}


def test_every_status_has_a_twin() -> None:
    assert set(ENDS) == {code.name for code in grpc.StatusCode} - {"OK"}


@pytest.mark.parametrize("code", ENDS)
async def test_a_status_ends_a_call_as_its_twin_on_rest_does(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path, code: str
) -> None:
    async def refuse(rpc: str, request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode[code], "because")

    engine.grpc_script = refuse
    answer = await make().signal("i1", "paper")
    assert (answer.outcome, answer.status, answer.code) == ENDS[code]
    assert answer.message == f"{code}: because"
    end = ops(tmp_path)[-1]
    assert (end.type, end.error) == (
        ENDS[code][0],
        {"code": ENDS[code][2], "status": ENDS[code][1], "message": f"{code}: because"},
    )


async def test_a_refusal_for_load_is_told_from_a_message_that_is_too_large(
    make: Make, engine: SmallGrpcEngine
) -> None:
    async def refuse(rpc: str, request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", (("grpc-retry-pushback-ms", "2000"),))

    engine.grpc_script = refuse
    answer = await make().signal("i1", "paper")
    assert (answer.outcome, answer.status, answer.code) == ("fail", 429, "overloaded")
    assert answer.refused_for_now


async def test_a_poll_where_polling_is_off_is_gone_as_on_rest(make: Make, engine: SmallGrpcEngine) -> None:
    async def refuse(rpc: str, request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "kafka_outbox")

    engine.grpc_script = refuse
    answer = await make().poll("w1", ["pay"])
    assert (answer.outcome, answer.status, answer.code) == ("fail", 410, "poll path disabled")


async def test_a_refused_connection_did_nothing(make: Make, engine: SmallGrpcEngine, tmp_path: Path) -> None:
    client = make()
    await client.cancel("i0", "never was")
    await engine.close_grpc()
    # The old connection's end may reach the client only with this call.
    await client.cancel("i1", "too late")
    for _ in range(3):
        answer = await client.cancel("i1", "too late")
        assert answer.refused
        assert answer.code == "connection-refused"
    assert ops(tmp_path)[-1].type == "fail"


async def test_no_answer_in_time_leaves_it_open(make: Make, engine: SmallGrpcEngine, tmp_path: Path) -> None:
    async def hang(rpc: str, request: Any, context: Any) -> None:
        await asyncio.Event().wait()

    engine.grpc_script = hang
    answer = await make().complete(JOB, "w1", timeout_s=0.1)
    assert (answer.outcome, answer.status, answer.code) == ("info", 0, "timeout")
    assert ops(tmp_path)[-1].type == "info"


async def test_a_call_that_the_harness_gives_up_has_no_end(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path
) -> None:
    arrived = asyncio.Event()

    async def hang(rpc: str, request: Any, context: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    engine.grpc_script = hang
    call = asyncio.create_task(make().cancel("i1", "changed my mind"))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [op.type for op in ops(tmp_path)] == ["invoke"]


async def test_a_proxy_of_the_user_is_not_asked(
    make: Make, engine: SmallGrpcEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await make().signal("i1", "paper")).ok


async def test_a_connection_lost_after_sending_leaves_it_open_and_is_not_tried_again(
    make: Make, engine: SmallGrpcEngine
) -> None:
    ports = Ports()
    proxy = Proxy(ports.take(), engine.grpc_port)
    await proxy.open()
    arrived = asyncio.Event()

    async def hang(rpc: str, request: Any, context: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    engine.grpc_script = hang
    replica = Replica("replica-0", "http://127.0.0.1:1", None, f"127.0.0.1:{proxy.port}")
    call = asyncio.create_task(make(replicas=[replica]).complete(JOB, "w1"))
    await arrived.wait()
    await proxy.cut("refuse")
    answer = await call
    assert (answer.outcome, answer.status, answer.code) == ("info", 0, "connection-lost")
    assert [rpc for rpc, _ in engine.calls] == ["CompleteJob"]
    await proxy.close()
    ports.close()


async def test_a_restarted_replica_is_reached_at_once(make: Make, engine: SmallGrpcEngine) -> None:
    """The library's own pause before it connects again grows to two minutes."""
    client = make()
    await engine.close_grpc()
    for _ in range(20):
        assert (await client.signal("i1", "paper")).refused
        await asyncio.sleep(0.05)
    await engine.open_grpc()

    async def answers() -> bool:
        return (await client.signal("i1", "paper")).ok

    await eventually(answers, within_s=2.0)


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff", pb.StartInstanceResponse(instance=pb.WorkflowInstance(id="i", status=99)).SerializeToString()],  # type: ignore[arg-type]
    ids=["no message", "a status that is none"],
)  # fmt: skip
async def test_a_success_that_cannot_be_read_leaves_it_open(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path, raw: bytes
) -> None:
    async def nonsense(rpc: str, request: Any, context: Any) -> bytes:
        return raw

    engine.grpc_script = nonsense
    answer = await make().start("loan", {})
    assert (answer.outcome, answer.code) == ("info", "unreadable-answer")
    assert ops(tmp_path)[-1].type == "info"


async def test_a_large_answer_is_read(make: Make, engine: SmallGrpcEngine) -> None:
    """The library's own limit would turn it into a refusal, of a call that was carried out."""
    answer = await make().start("loan", {"much": "x" * 5_000_000})
    assert answer.ok
    assert len(answer.body["variables"]["much"]) == 5_000_000


# Which way a call goes -------------------------------------------------------------------------------------------


async def test_both_are_drawn_for_each_call_and_the_same_seed_draws_the_same(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path
) -> None:
    async with SmallGrpcEngine("replica-1") as other:
        ways = []
        for seed in (5, 5, 6):
            client = make("both", replicas=[engine.replica, other.replica], rng=random.Random(seed))
            before = len(ops(tmp_path))
            for _ in range(40):
                await client.signal("i1", "paper")
            ways.append([(op.node, op.transport) for op in ops(tmp_path)[before:] if op.type == "invoke"])
            await client.close()
    assert ways[0] == ways[1] != ways[2]
    assert set(ways[0]) == {(node, way) for node in ("replica-0", "replica-1") for way in ("rest", "grpc")}
    asked = Counter(way for _, way in ways[2])
    assert min(asked.values()) >= 10


async def test_what_grpc_cannot_carry_goes_over_rest(
    make: Make, engine: SmallGrpcEngine, tmp_path: Path
) -> None:
    client = make("grpc")
    decision = {"id": "d", "type": "DECISION", "conditionalNextSteps": {"b": "end", "a": "end"}}
    await client.upload({"id": "x", "name": "x", "steps": [decision]})
    await client.poll("w1", ["pay"], lease_s=0.5)
    await client.probe("replica-0", "/healthz")
    await client.poll("w1", ["pay"], lease_s=1)
    sent = [(op.f, op.transport) for op in ops(tmp_path) if op.type == "invoke"]
    assert sent == [("upload", "rest"), ("poll", "rest"), ("probe", "rest"), ("poll", "grpc")]
    assert [rpc for rpc, _ in engine.calls] == ["PollJobs"]


async def test_every_client_has_connections_of_its_own(make: Make, engine: SmallGrpcEngine) -> None:
    for client in [make() for _ in range(3)]:
        await client.signal("i1", "paper")
        await client.signal("i1", "paper")
    assert len(engine.peers) == 3


def test_a_replica_without_a_grpc_address_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    silent = Replica("replica-0", "http://127.0.0.1:1", None)
    with pytest.raises(ValueError, match="client client-0: replica-0 has no gRPC address; give one, or"):
        RecordingClient("client-0", [silent], recorder, random.Random(1), transports=("rest", "grpc"))
    RecordingClient("client-0", [silent], recorder, random.Random(1))
    recorder.close()

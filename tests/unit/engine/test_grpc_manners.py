"""Statuses, limits, time, log, health, start and stop of the gRPC door (contract 2.4, 8.1, 8.4)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any, cast

import grpc
import msgspec
import pytest
from dial import SERVICE, Dial, struct
from door import FAULTS
from google.protobuf import json_format
from grpc_door import GrpcDoor, job, nested, opened
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from patience import eventually
from windlass import wire
from windlass.api import faults, protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.errors import BootRefused, Conflict, PollDisabled

# -- statuses


@pytest.mark.parametrize(
    ("id_", "status", "text"),
    [
        ("missing", "NOT_FOUND", "it is not there"),
        ("held", "FAILED_PRECONDITION", "another worker holds it"),
        ("wrong", "INVALID_ARGUMENT", "it is of another type"),
        ("away", "UNAVAILABLE", "the database is away"),
        ("bug", "INTERNAL", faults.INTERNAL_REASON),
        ("crash", "INTERNAL", faults.INTERNAL_REASON),
    ],
)
async def test_each_error_has_its_status(id_: str, status: str, text: str) -> None:
    async with opened() as door:
        assert await door.dial.refusal("GetInstance", id=id_) == (status, text)
        *broke, request = door.lines()
        assert (request["level"], request["code"], request["err"]) == ("WARN", status, text)
        assert len(broke) == (status == "INTERNAL")
        if broke:
            assert broke[0]["msg"] == "grpc: handler broke"
            assert "hunter2" not in json.dumps(broke)
    assert set(FAULTS) == {"missing", "held", "wrong", "away", "bug", "crash"}


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("StartInstance", {}),
        ("PollJobs", {"job_types": ["t"]}),
        ("PollJobs", {"worker_id": "w"}),
        ("CompleteUserTask", {"user_task_step_id": "s"}),
        ("CompleteUserTask", {"instance_id": "i"}),
        ("SignalWait", {"wait_step_id": "s"}),
        ("SignalWait", {"instance_id": "i"}),
        ("GetInstance", {"id": "nul \0"}),
        ("PollJobs", {"worker_id": "w", "job_types": ["nul \0"]}),
    ],
    ids=repr,
)
async def test_missing_and_unstorable_ids_are_refused(rpc: str, fields: dict[str, Any]) -> None:
    async with opened() as door:
        assert (await door.dial.refusal(rpc, **fields))[0] == "INVALID_ARGUMENT"
        assert door.service.asked == []


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Only what nothing refers to any more is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("message", [b"", b"\x0a\x01\0", b"\xff" * 10], ids=["no id", "NUL", "unreadable"])
async def test_nothing_of_a_refused_call_stays(message: bytes) -> None:
    def calls() -> Sequence[Any]:
        return [each for each in gc.get_objects() if type(each).__name__ == "_ServicerContext"]

    async with opened() as door:
        before = len(calls())
        for _ in range(10):
            await door.dial.refusal("StartInstance", message)
        await eventually(lambda: len(calls()) == before)


async def test_a_poll_in_mode_kafka_outbox_says_where_the_jobs_are() -> None:
    async with opened(dispatch_mode="kafka_outbox") as door:
        status, text = await door.dial.refusal("PollJobs")
        assert status == "FAILED_PRECONDITION"
        assert "kafka_outbox" in text
        assert "Kafka" in text
        await door.dial.call("CompleteJob", job_id="j")


@pytest.mark.parametrize(
    "data", [b"\x0a\x02\xff\xfe", b"\x0a\x05ab", b"\xff" * 40, b"\x1a" + bytes([200])], ids=repr
)
async def test_an_unreadable_message_is_the_callers_fault(data: bytes) -> None:
    async with opened() as door:
        status, text = await door.dial.refusal("StartInstance", data)
        assert status == "INVALID_ARGUMENT"
        assert "StartInstance" in text
        assert door.service.asked == []


async def test_a_struct_nested_without_end_is_refused() -> None:
    data = b""
    for _ in range(200):  # a Struct whose field "" holds a Struct, and so on
        value = b"\x2a" + varint(len(data)) + data
        entry = b"\x12" + varint(len(value)) + value
        data = b"\x0a" + varint(len(entry)) + entry
    async with opened() as door:
        request = b"\x0a\x01d\x1a" + varint(len(data)) + data
        assert (await door.dial.refusal("StartInstance", request))[0] == "INVALID_ARGUMENT"
        assert door.service.asked == []


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made += bytes([number & 127 | 128])
        number >>= 7
    return made + bytes([number])


async def test_a_message_past_the_cap_is_refused() -> None:
    async with opened(body_bytes_max=4096) as door:
        await door.dial.call("StartInstance", definition_id="d", variables=struct(a="x" * 3000))
        status, _ = await door.dial.refusal(
            "StartInstance", definition_id="d", variables=struct(a="x" * 5000)
        )
        assert status == "RESOURCE_EXHAUSTED"
        assert len(door.service.asked) == 1
        await door.dial.call("GetInstance", id="i")


async def test_a_long_text_is_cut_to_what_clients_read() -> None:
    async with opened() as door:
        for text in ("x" * 100_000, "ü\n%" * 30_000):
            door.service.get_instance = raising(Conflict(text))  # type: ignore[method-assign]
            status, got = await door.dial.refusal("GetInstance", id="i")
            assert status == "FAILED_PRECONDITION"
            assert got[:1000] == text[:1000]
            assert got.endswith("(cut; REST has the whole text)")


def raising(error: Exception) -> Any:
    async def method(_: str) -> wire.InstanceView:
        raise error

    return method


def test_the_poll_refusal_is_one_text_for_both_doors() -> None:
    error = PollDisabled("kafka_outbox")
    assert json.loads(faults.answer(error).body)["hint"] in faults.grpc_answer(error)[1]


# -- variables that protobuf cannot carry


async def test_what_goes_out_can_be_read_up_to_the_limit() -> None:
    async with opened() as door:
        deepest = nested(protobuf.NESTING_MAX)
        listed = b'{"a":' + b"[" * (protobuf.NESTING_MAX - 1) + b"]" * (protobuf.NESTING_MAX - 1) + b"}"
        door.service.jobs = [job(variables=msgspec.Raw(text)) for text in (deepest, listed)]
        got = (await door.dial.call("PollJobs", worker_id="w", job_types=["t"], max_jobs=2)).jobs
        assert [json_format.MessageToDict(it.variables) for it in got] == [
            json.loads(deepest),
            json.loads(listed),
        ]


#: what REST, or another engine, may have stored
UNREADABLE = [
    pytest.param(nested(protobuf.NESTING_MAX + 1), "nested deeper", id="depth"),
    pytest.param(b'{"a":[' + b"9" * 309 + b"]}", "range of a double", id="number"),
]


@pytest.mark.parametrize(("variables", "why"), UNREADABLE)
async def test_a_job_that_no_client_could_read_is_withheld_and_the_others_go_out(
    variables: bytes, why: str
) -> None:
    async with opened() as door:
        unreadable = job(id="unreadable", variables=msgspec.Raw(variables))
        door.service.jobs = [job(id="a"), unreadable, job(id="b")]
        got = (await door.dial.call("PollJobs", worker_id="w", job_types=["t"], max_jobs=3)).jobs
        assert [it.id for it in got] == ["a", "b"]
        (line,) = door.lines()
        assert (line["level"], line["job_id"]) == ("WARN", "unreadable")
        assert why in line["err"]


@pytest.mark.parametrize(("variables", "why"), UNREADABLE)
async def test_an_instance_that_no_client_could_read_can_be_started_and_not_read(
    variables: bytes, why: str
) -> None:
    async with opened() as door:
        view = msgspec.structs.replace(await door.service.get_instance("i"), variables=msgspec.Raw(variables))

        async def answer(*_: Any, **__: Any) -> wire.InstanceView:
            return view

        door.service.get_instance = door.service.start_instance = answer  # type: ignore[method-assign]
        started = (await door.dial.call("StartInstance", definition_id="d")).instance
        assert (started.id, started.HasField("variables")) == ("i", False)
        status, text = await door.dial.refusal("GetInstance", id="i")
        assert status == "FAILED_PRECONDITION"
        assert why in text
        assert "REST" in text


# -- time


async def test_a_call_that_takes_too_long_is_told_so_and_its_work_cancelled() -> None:
    async with opened(request_timeout_s=0.1) as door:
        begun = asyncio.get_running_loop().time()
        status, text = await door.dial.refusal("PollJobs", worker_id="w", job_types=["t"], wait_ms=20_000)
        assert (status, "0.1 s" in text) == ("DEADLINE_EXCEEDED", True)
        assert asyncio.get_running_loop().time() - begun < 5
        await eventually(lambda: not door.service.held_polls)


async def test_a_poll_is_answered_before_its_caller_s_deadline() -> None:
    """What it had got by then would be lost otherwise, together with the caller's interest."""
    async with opened() as door:
        request = pb.PollJobsRequest(worker_id="w", job_types=["t"], wait_ms=20_000)
        poll: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = door.dial.channel.unary_unary(
            f"/{SERVICE}/PollJobs"
        )
        begun = asyncio.get_running_loop().time()
        assert pb.PollJobsResponse.FromString(await poll(request.SerializeToString(), timeout=2)).jobs == []
        assert 1 < asyncio.get_running_loop().time() - begun < 2
        assert not door.service.held_polls


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_caller_that_goes_away_cancels_its_poll(how: str) -> None:
    async with opened() as door:
        dial = Dial(door.app.port)
        request = pb.PollJobsRequest(worker_id="w", job_types=["t"], wait_ms=20_000)
        poll: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = dial.channel.unary_unary(
            f"/{SERVICE}/PollJobs"
        )
        call = poll(request.SerializeToString())
        await eventually(lambda: door.service.held_polls)
        if how == "cancel":
            call.cancel()
        elif how == "close":
            await dial.close()
        await eventually(lambda: not door.service.held_polls)
        with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
            await call
        await dial.close()
        assert [line["msg"] for line in door.lines()] == []


# -- log, metrics, trace


async def test_every_call_is_logged_and_counted_but_polls_that_went_well() -> None:
    async with opened() as door:
        await door.dial.call("PollJobs", worker_id="w", job_types=["t"])
        await door.dial.refusal("PollJobs")
        await door.dial.begin("GetInstance", id="i", metadata=(("traceparent", "00-1-2-01"),))
        poll, get = door.lines()
        assert poll.items() >= {"level": "WARN", "msg": "grpc request", "code": "INVALID_ARGUMENT"}.items()
        assert poll["err"] == "worker_id is required"
        assert "traceparent" not in poll
        method = f"/{SERVICE}/GetInstance"
        wanted = {"level": "INFO", "msg": "grpc request", "method": method, "code": "OK"}
        assert get.items() >= {**wanted, "traceparent": "00-1-2-01"}.items()
        assert 0 < get["duration"] < 60e9
        series = door.metrics.exposition().decode()
        for rpc, code in (("PollJobs", "OK"), ("PollJobs", "INVALID_ARGUMENT"), ("GetInstance", "OK")):
            name = "grpc_requests_duration_seconds_count"
            assert f'{name}{{code="{code}",method="/{SERVICE}/{rpc}"}} 1.0' in series


# -- health, reflection, start and stop


async def test_health_and_reflection() -> None:
    async with opened() as door:
        health: Any = health_pb2_grpc.HealthStub(door.dial.channel)
        for name in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND

        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast(grpc.Channel, door.dial.channel))
        ask: Any = reflection_pb2.ServerReflectionRequest
        requests = [ask(list_services=""), ask(file_containing_symbol=SERVICE)]
        names, described = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
        listed = {service.name for service in names.list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= listed
        assert any(
            b"lease_token" in text for text in described.file_descriptor_response.file_descriptor_proto
        )


async def test_every_call_of_the_proto_is_served_and_no_other() -> None:
    async with opened() as door:
        for method in pb.DESCRIPTOR.services_by_name["WorkflowEngine"].methods:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await door.dial.call(method.name)
            (line,) = door.lines()[-1:]
            assert line["method"] == f"/{SERVICE}/{method.name}"
        nothing: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = door.dial.channel.unary_unary(
            f"/{SERVICE}/Nothing"
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await nothing(b"")
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_leaving_server_answers_what_is_under_way_and_tells_its_watchers() -> None:
    async with opened() as door:
        health: Any = health_pb2_grpc.HealthStub(door.dial.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = door.dial.begin("PollJobs", worker_id="w", job_types=["t"], wait_ms=20_000)
        await eventually(lambda: door.service.held_polls)
        drain = asyncio.create_task(door.app.drain(20))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not drain.done()
        other = Dial(door.app.port)
        assert (await other.refusal("GetInstance", id="i"))[0] == "UNAVAILABLE"
        await other.close()
        door.service.jobs = [job()]
        door.service.gate.set()
        assert [it.id for it in (await call).jobs] == ["j"]
        await asyncio.wait_for(drain, 10)


async def test_a_call_that_outlives_the_grace_is_cut_and_counted() -> None:
    async with opened() as door:
        call = door.dial.begin("PollJobs", worker_id="w", job_types=["t"], wait_ms=20_000)
        await eventually(lambda: door.service.held_polls)
        await door.app.drain(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await call
        assert cut.value.code() == grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: not door.service.held_polls)
        (line,) = door.lines()
        assert (line["level"], line["calls"]) == ("WARN", 1)


async def test_a_port_in_use_names_its_variable() -> None:
    async with opened() as door:
        second = GrpcDoor().app
        with pytest.raises(
            BootRefused, match=r"gRPC cannot listen on 127.0.0.1:\d+: the port is in use.*WE_GRPC_PORT"
        ):
            await second.start("127.0.0.1", door.app.port)
        await second.drain(1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(BootRefused, match="WE_GRPC_PORT"):
            await GrpcDoor().app.start("127.0.0.1", holder.getsockname()[1])

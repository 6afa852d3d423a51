"""The real engine through the gRPC door: the same commands, lanes and fencing as REST, and each row of contract 2.4."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from google.protobuf import json_format
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.api import protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.api.grpc import GrpcApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT = {"id": "w", "name": "w", "type": "WAIT", "nextStep": "end"}
TASK = {"id": "u", "name": "u", "type": "USER_TASK", "nextStep": "end"}


@dataclasses.dataclass(frozen=True)
class Line:
    """An engine and a channel to it."""

    one: Running
    channel: Any

    async def call(self, rpc: str, **fields: Any) -> Any:
        call = self.channel.unary_unary(
            f"/workflow.v1.WorkflowEngine/{rpc}",
            request_serializer=getattr(pb, f"{rpc}Request").SerializeToString,
            response_deserializer=getattr(pb, f"{rpc}Response").FromString,
        )
        variables = {"variables", "variables_to_set", "result"}
        values = {name: fields.pop(name) for name in variables & set(fields)}
        request = getattr(pb, f"{rpc}Request")(**fields)
        for name, value in values.items():
            getattr(request, name).update(value)
        return await call(request, timeout=20)

    async def status(self, rpc: str, **fields: Any) -> tuple[str, str]:
        """Name and text of the status the call ends with."""
        try:
            await self.call(rpc, **fields)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""

    async def start(self, **variables: Any) -> Any:
        return (await self.call("StartInstance", definition_id="d", variables=variables)).instance

    async def poll(self, worker: str = "w", **fields: Any) -> list[Any]:
        return list((await self.call("PollJobs", worker_id=worker, job_types=["do-a"], **fields)).jobs)

    async def lease_one(self, worker: str = "w", **variables: Any) -> Any:
        await self.one.define(service("a", "end", retryCount=1), END)
        await self.start(**variables)
        (job,) = await self.poll(worker)
        return job

    async def instance(self, id_: str) -> Any:
        return (await self.call("GetInstance", id=id_)).instance


def line_to(one: Running, port: int | None = None) -> Line:
    assert one.node.grpc is not None
    # A pool of connections of its own: the next test's engine may get the same port.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return Line(one, grpc.aio.insecure_channel(f"127.0.0.1:{port or one.node.grpc.port}", options=options))


@pytest_asyncio.fixture(loop_scope="session")
async def line(one: Running) -> AsyncIterator[Line]:
    made = line_to(one)
    yield made
    await made.channel.close()


def plain(struct: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = json_format.MessageToDict(struct)
    return decoded


# -- the way of an instance


async def test_an_instance_runs_from_start_to_end(line: Line) -> None:
    job = await line.lease_one(n=3, t="x")
    assert (job.step_id, job.lease_token, job.retries_remaining) == ("a", "1", 1)
    assert plain(job.variables) == {"n": 3, "t": "x"}
    assert await line.poll() == []
    await line.call("CompleteJob", job_id=job.id, worker_id="w", variables_to_set={"done": 7.0, "half": 0.5})
    instance = await line.instance(job.instance_id)
    assert instance.status == pb.INSTANCE_STATUS_COMPLETED
    assert plain(instance.variables) == {"n": 3, "t": "x", "done": 7, "half": 0.5}
    assert instance.HasField("completed_at")
    stored = bytes((await line.one.engine.get_instance(job.instance_id)).variables)
    assert b"7.0" not in stored
    assert b"3.0" not in stored
    history = (await line.call("GetInstanceHistory", id=job.instance_id)).executions
    assert [(row.step_id, row.step_type, row.status) for row in history] == [("a", 1, 2), ("end", 8, 2)]
    assert history[0].id == job.step_execution_id


async def test_a_fail_is_retried_and_then_ends_the_instance(line: Line) -> None:
    job = await line.lease_one()
    await line.call("FailJob", job_id=job.id, worker_id="w", error_message="once", retryable=True)
    (again,) = await line.poll()
    assert (again.id, again.retries_remaining, again.lease_token) == (job.id, 0, "2")
    await line.call("FailJob", job_id=job.id, worker_id="w", error_message="twice", retryable=True)
    instance = await line.instance(job.instance_id)
    assert (instance.status, instance.failure_reason) == (pb.INSTANCE_STATUS_FAILED, "twice")


async def test_an_old_lease_is_fenced(line: Line) -> None:
    job = await line.lease_one()
    await line.one.rows("UPDATE job SET lock_expires_at = now() - interval '1 s' WHERE id = $1", job.id)
    await line.one.rows("UPDATE job SET status = 'UNLOCKED', worker_id = NULL WHERE id = $1", job.id)

    async def taken() -> bool:
        return any(it.id == job.id for it in await line.poll("other"))

    await eventually(taken)
    old = {"job_id": job.id, "worker_id": "w", "lease_token": job.lease_token}
    assert (await line.status("CompleteJob", **old))[0] == "FAILED_PRECONDITION"
    assert (await line.status("FailJob", **old))[0] == "OK"
    assert (await line.instance(job.instance_id)).status == pb.INSTANCE_STATUS_ACTIVE
    new = {"job_id": job.id, "worker_id": "other", "lease_token": "2"}
    assert (await line.status("CompleteJob", **new))[0] == "OK"
    assert (await line.status("CompleteJob", **new))[0] == "OK", "a repeat changes nothing"
    assert (await line.instance(job.instance_id)).status == pb.INSTANCE_STATUS_COMPLETED


async def test_cancel(line: Line) -> None:
    job = await line.lease_one()
    cancelled = (await line.call("CancelInstance", id=job.instance_id, reason="enough")).instance
    assert (cancelled.status, cancelled.failure_reason) == (pb.INSTANCE_STATUS_CANCELLED, "enough")
    assert cancelled.HasField("completed_at")
    assert (await line.status("CompleteJob", job_id=job.id, worker_id="w"))[0] == "OK"
    assert (await line.instance(job.instance_id)).status == pb.INSTANCE_STATUS_CANCELLED


async def test_signals_and_user_tasks(line: Line) -> None:
    await line.one.define({**WAIT, "nextStep": "u"}, TASK, END)
    instance = await line.start(a=1)
    assert (instance.status, list(instance.current_step_ids)) == (pb.INSTANCE_STATUS_WAITING, ["w"])
    await line.call("SignalWait", instance_id=instance.id, wait_step_id="w", variables={"b": 2})
    await line.call(
        "CompleteUserTask",
        instance_id=instance.id,
        user_task_step_id="u",
        completed_by="me",
        result={"c": [3]},
    )
    ended = await line.instance(instance.id)
    assert ended.status == pb.INSTANCE_STATUS_COMPLETED
    assert plain(ended.variables) == {"a": 1, "b": 2, "c": [3]}


async def test_a_held_poll_gets_the_job_that_comes_and_a_cancelled_one_takes_none(line: Line) -> None:
    await line.one.define(service("a", "end"), END)
    held = asyncio.create_task(line.poll("gone", wait_ms=20_000))

    async def parked() -> bool:
        return line.one.node.polls.parked == 1

    async def left() -> bool:
        return line.one.node.polls.parked == 0

    await eventually(parked)
    held.cancel()
    await eventually(left)
    held = asyncio.create_task(line.poll("there", wait_ms=20_000))
    await eventually(parked)
    instance = await line.start()
    (job,) = await held
    assert job.instance_id == instance.id
    (row,) = await line.one.rows("SELECT worker_id FROM job WHERE id = $1", job.id)
    assert row["worker_id"] == "there"


async def test_instances_are_listed_by_status_and_key(line: Line) -> None:
    await line.one.define(WAIT, END)
    for key in ("x", "y", "x"):
        await line.call("StartInstance", definition_id="d", business_key=key)
    page = await line.call("ListInstances", business_key="x", page_size=1)
    assert (len(page.instances), page.total) == (1, 2)
    waiting = await line.call("ListInstances", definition_id="d", status=pb.INSTANCE_STATUS_WAITING)
    assert waiting.total == 3
    assert (await line.call("ListInstances", status=pb.INSTANCE_STATUS_FAILED)).total == 0


# -- definitions

WHOLE: Mapping[str, Any] = {
    "id": "whole",
    "name": "Whole",
    "description": "each field",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": "other",
    "steps": [
        {
            "id": "a",
            "name": "A",
            "type": "SERVICE_TASK",
            "description": "serves",
            "nextStep": "q",
            "jobType": "do-a",
            "delegateClass": "com.example.A",
            "retryCount": 2,
            "boundaryEvents": [
                {"type": "TIMER", "duration": "PT1H", "interrupting": True, "targetStepId": "end"},
                {"type": "TIMER", "duration": "PT2H", "interrupting": False, "targetStepId": "t"},
            ],
        },
        {"id": "q", "name": "Q", "type": "DECISION", "conditionalNextSteps": {"n > 1": "g", "true": "t"}},
        {"id": "t", "name": "T", "type": "TRANSFORMATION", "transformations": {"x": 1, "y": {"z": [1.5, None]}},
         "nextStep": "end"},
        {"id": "g", "name": "G", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["b", "c"], "joinStep": "j"},
        {"id": "b", "name": "B", "type": "WAIT", "nextStep": "j"},
        {"id": "c", "name": "C", "type": "USER_TASK", "nextStep": "j"},
        {"id": "j", "name": "J", "type": "JOIN_GATEWAY", "nextStep": "end"},
        {"id": "end", "name": "End", "type": "END"},
    ],
    "metadata": {"owner": "team", "deep": {"er": [1, True, None]}},
}  # fmt: skip


async def test_a_definition_is_one_document_behind_both_doors(line: Line) -> None:
    text = json.dumps(WHOLE).encode()
    by_rest = await line.one.engine.upload_definition(text)
    message = protobuf.definition_message(msgspec.json.encode({**WHOLE, "version": 99}))
    by_grpc = await line.call("UploadDefinition", definition=message)
    assert (by_grpc.id, by_grpc.version) == ("whole", by_rest.version), (
        "equal as JSON values: the same version"
    )
    assert by_grpc.uploaded_at.ToJsonString().rstrip("0Z") == by_rest.uploaded_at.rstrip("0Z")

    message.name = "Renamed"
    assert (await line.call("UploadDefinition", definition=message)).version == 2
    stored = json.loads(await line.one.engine.get_definition("whole", None))
    assert stored == {**WHOLE, "version": 2, "name": "Renamed"}
    found = (await line.call("GetDefinition", id="whole")).definition
    message.version = 2
    assert found == message
    assert (await line.call("GetDefinition", id="whole", version=1)).definition.name == "Whole"
    (listed,) = (await line.call("ListDefinitions", keyword="whole")).definitions
    assert (listed.id, listed.version, listed.description) == ("whole", 2, "each field")


async def test_branches_of_an_upload_are_tried_in_sorted_order(line: Line) -> None:
    ends = [{"id": f"end{n}", "name": "e", "type": "END"} for n in range(8)]
    branches = {f"n >= {n}": f"end{n}" for n in reversed(range(8))}
    decision = {"id": "q", "name": "q", "type": "DECISION", "conditionalNextSteps": branches}
    document = {"id": "d", "name": "d", "version": 1, "steps": [decision, *ends]}
    await line.call("UploadDefinition", definition=protobuf.definition_message(json.dumps(document).encode()))
    instance = await line.start(n=7)
    history = (await line.call("GetInstanceHistory", id=instance.id)).executions
    assert [row.step_id for row in history] == ["q", "end0"]


# -- contract 2.4, row by row

Situation = Callable[[Line], Awaitable[tuple[str, str]]]
ROWS: dict[str, tuple[str, str, Situation]] = {}
"""Situation -> the status, a word its text must hold, what brings it about."""


def row(status: str, word: str = "") -> Callable[[Situation], Situation]:
    def add(situation: Situation) -> Situation:
        ROWS[situation.__name__] = (status, word, situation)
        return situation

    return add


@row("INVALID_ARGUMENT", "definition is required")
async def upload_without_a_definition(line: Line) -> tuple[str, str]:
    return await line.status("UploadDefinition")


@row("INVALID_ARGUMENT", "validation error:\n")
async def upload_of_an_invalid_definition(line: Line) -> tuple[str, str]:
    return await line.status("UploadDefinition", definition=pb.WorkflowDefinition(id="d"))


@row("NOT_FOUND")
async def get_an_unknown_definition(line: Line) -> tuple[str, str]:
    return await line.status("GetDefinition", id="ghost")


@row("NOT_FOUND")
async def get_an_unknown_version(line: Line) -> tuple[str, str]:
    await line.one.define(WAIT, END)
    return await line.status("GetDefinition", id="d", version=2)


@row("NOT_FOUND")
async def get_an_unknown_instance(line: Line) -> tuple[str, str]:
    return await line.status("GetInstance", id="ghost")


@row("NOT_FOUND")
async def start_of_an_unknown_definition(line: Line) -> tuple[str, str]:
    return await line.status("StartInstance", definition_id="ghost")


@row("INVALID_ARGUMENT", "definition_id")
async def start_without_a_definition_id(line: Line) -> tuple[str, str]:
    return await line.status("StartInstance")


@row("NOT_FOUND")
async def cancel_of_an_unknown_instance(line: Line) -> tuple[str, str]:
    return await line.status("CancelInstance", id="ghost")


@row("FAILED_PRECONDITION")
async def cancel_of_a_terminal_instance(line: Line) -> tuple[str, str]:
    return await line.status("CancelInstance", id=await ended(line))


@row("NOT_FOUND")
async def history_of_an_unknown_instance(line: Line) -> tuple[str, str]:
    return await line.status("GetInstanceHistory", id="ghost")


@row("FAILED_PRECONDITION", "Kafka")
async def poll_in_mode_kafka_outbox(line: Line) -> tuple[str, str]:
    # This release refuses to boot in that mode; the door is told of it all the same.
    node = line.one.node
    settings = dataclasses.replace(node.settings, dispatch_mode="kafka_outbox")
    app = GrpcApp(node.engine, settings, node.metrics, node.log, node.memory)
    await app.start("127.0.0.1", 0)
    other = line_to(line.one, app.port)
    try:
        status, text = await other.status("PollJobs", worker_id="w", job_types=["do-a"])
        assert "kafka_outbox" in text
        return status, text
    finally:
        await other.channel.close()
        await app.drain(1)


@row("INVALID_ARGUMENT", "worker_id")
async def poll_without_a_worker(line: Line) -> tuple[str, str]:
    return await line.status("PollJobs", job_types=["do-a"])


@row("INVALID_ARGUMENT", "job_types")
async def poll_without_types(line: Line) -> tuple[str, str]:
    return await line.status("PollJobs", worker_id="w")


@row("NOT_FOUND")
async def complete_of_an_unknown_job(line: Line) -> tuple[str, str]:
    return await line.status("CompleteJob", job_id="ghost", worker_id="w")


@row("NOT_FOUND")
async def fail_of_an_unknown_job(line: Line) -> tuple[str, str]:
    return await line.status("FailJob", job_id="ghost", worker_id="w")


@row("FAILED_PRECONDITION")
async def complete_of_a_job_leased_to_another(line: Line) -> tuple[str, str]:
    return await line.status("CompleteJob", job_id=(await line.lease_one()).id, worker_id="thief")


@row("OK")
async def fail_of_a_job_leased_to_another(line: Line) -> tuple[str, str]:
    job = await line.lease_one()
    answer = await line.status("FailJob", job_id=job.id, worker_id="thief")
    (kept,) = await line.one.rows("SELECT status, worker_id FROM job WHERE id = $1", job.id)
    assert kept == {"status": "LOCKED", "worker_id": "w"}
    return answer


@row("INVALID_ARGUMENT", "instance_id")
async def user_task_without_an_instance(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", user_task_step_id="u")


@row("INVALID_ARGUMENT", "user_task_step_id")
async def user_task_without_a_step(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", instance_id="i")


@row("INVALID_ARGUMENT", "instance_id")
async def signal_without_an_instance(line: Line) -> tuple[str, str]:
    return await line.status("SignalWait", wait_step_id="w")


@row("INVALID_ARGUMENT", "wait_step_id")
async def signal_without_a_step(line: Line) -> tuple[str, str]:
    return await line.status("SignalWait", instance_id="i")


@row("NOT_FOUND")
async def user_task_of_an_unknown_instance(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", instance_id="ghost", user_task_step_id="u")


@row("NOT_FOUND")
async def user_task_that_is_not_there(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", instance_id=await waiting(line), user_task_step_id="ghost")


@row("NOT_FOUND")
async def signal_to_an_unknown_instance(line: Line) -> tuple[str, str]:
    return await line.status("SignalWait", instance_id="ghost", wait_step_id="w")


@row("FAILED_PRECONDITION")
async def signal_to_a_terminal_instance(line: Line) -> tuple[str, str]:
    return await line.status("SignalWait", instance_id=await ended(line), wait_step_id="w")


@row("FAILED_PRECONDITION")
async def user_task_of_a_terminal_instance(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", instance_id=await ended(line), user_task_step_id="u")


@row("FAILED_PRECONDITION")
async def signal_to_a_step_not_parked(line: Line) -> tuple[str, str]:
    await line.one.define({**TASK, "nextStep": "w"}, WAIT, END)
    return await line.status("SignalWait", instance_id=(await line.start()).id, wait_step_id="w")


@row("INVALID_ARGUMENT")
async def signal_to_a_step_of_another_type(line: Line) -> tuple[str, str]:
    return await line.status("SignalWait", instance_id=await waiting(line), wait_step_id="end")


@row("INVALID_ARGUMENT")
async def user_task_of_another_type(line: Line) -> tuple[str, str]:
    return await line.status("CompleteUserTask", instance_id=await waiting(line), user_task_step_id="w")


@row("INTERNAL", "internal error: ")
async def anything_else(line: Line) -> tuple[str, str]:
    await line.one.rows("ALTER TABLE workflow_instance RENAME TO away")
    try:
        return await line.status("GetInstance", id="i")
    finally:
        await line.one.rows("ALTER TABLE away RENAME TO workflow_instance")


async def waiting(line: Line) -> str:
    await line.one.define(WAIT, END)
    return str((await line.start()).id)


async def ended(line: Line) -> str:
    await line.one.define({**WAIT, "nextStep": "u"}, TASK, END)
    id_ = str((await line.start()).id)
    await line.call("CancelInstance", id=id_)
    return id_


@pytest.mark.parametrize("situation", ROWS)
async def test_each_row_of_the_status_table(line: Line, situation: str) -> None:
    status, word, bring_about = ROWS[situation]
    got, text = await bring_about(line)
    assert got == status, text
    assert word in text


async def test_two_replicas_serve_one_instance(boot: Boot) -> None:
    first, second = line_to(await boot()), line_to(await boot())
    job = await first.lease_one()
    await second.call("CompleteJob", job_id=job.id, worker_id="w", lease_token=job.lease_token)
    assert (await first.instance(job.instance_id)).status == pb.INSTANCE_STATUS_COMPLETED
    await first.channel.close()
    await second.channel.close()

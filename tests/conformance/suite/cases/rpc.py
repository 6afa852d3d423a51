"""Contract 2: the gRPC door by itself; what it shares with REST is shown beside REST in the other files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import json_format
from grpc_health.v1 import health_pb2
from workflow import END, Json, document, fork, join, service, step, timer, transformation, user_task, wait

from suite.case import GRPC, Differs, Need, add, contains, holds, same, shows
from suite.context import CaseContext
from suite.doors import Reply, fresh_id
from suite.doors.messages import CLASSES, SERVICE

ACTIVE, WAITING, COMPLETED, FAILED, CANCELLED = range(1, 6)
"""InstanceStatus by number (contract 2.2)."""


async def _message(context: CaseContext, rpc: str, **fields: Any) -> Any:
    """The answering message itself, with its numbers."""
    return (await context.grpc.ask(rpc, **fields)).ok(rpc)


async def _instance(context: CaseContext, *steps: Json, **more: Any) -> Any:
    id = await context.grpc.define(*steps)
    return (await _message(context, "StartInstance", definition_id=id, **more)).instance


# -- the listener


@shows("2 plaintext", over=GRPC)
async def plaintext(context: CaseContext) -> None:
    (await context.grpc.ask("ListDefinitions", page_size=1)).ok("ListDefinitions")


async def _serving(context: CaseContext, service_name: str) -> None:
    check = context.grpc.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer = await check(health_pb2.HealthCheckRequest(service=service_name), timeout=10)
    same("status", answer.status, health_pb2.HealthCheckResponse.SERVING)


@shows("2 health-empty", over=GRPC)
async def health_of_the_server(context: CaseContext) -> None:
    await _serving(context, "")


@shows("2 health-service", over=GRPC)
async def health_of_the_service(context: CaseContext) -> None:
    await _serving(context, SERVICE)


@shows("2 health-unknown", over=GRPC)
async def health_of_nobody(context: CaseContext) -> None:
    try:
        await _serving(context, "no.such.Service")
    except grpc.aio.AioRpcError as error:
        same("code", error.code(), grpc.StatusCode.NOT_FOUND)
    else:
        raise Differs("health of a service nobody has: expected NOT_FOUND, got SERVING")


# -- the calls


@shows("2.1 UploadDefinition", over=GRPC)
async def upload(context: CaseContext) -> None:
    id = fresh_id()
    definition = {
        "id": id,
        "name": id,
        "version": 9,
        "steps": [{"id": "end", "name": "end", "type": "STEP_TYPE_END"}],
    }
    answer = await _message(context, "UploadDefinition", definition=definition)
    same("id and version", (answer.id, answer.version), (id, 1))
    holds("uploaded_at", answer.uploaded_at.seconds > 0, answer)


@shows("2.1 GetDefinition", "2.5 definition-steps", over=GRPC)
async def get_definition(context: CaseContext) -> None:
    id = await context.grpc.define(wait("w"), END)
    await context.grpc.define(END, id=id)
    for version, wanted in ((0, (2, ["end"])), (1, (1, ["w", "end"]))):
        found = (await _message(context, "GetDefinition", id=id, version=version)).definition
        same(f"version {version}", (found.version, [each.id for each in found.steps]), wanted)


@shows("2.1 ListDefinitions", over=GRPC)
async def list_definitions(context: CaseContext) -> None:
    id = await context.grpc.define(END)
    answer = await _message(context, "ListDefinitions", keyword=id)
    same("ids and total", ([each.id for each in answer.definitions], answer.total), ([id], 1))


@shows("2.1 StartInstance", "2.1 GetInstance", "2.3 WorkflowInstance", over=GRPC)
async def start_and_get(context: CaseContext) -> None:
    started = await _instance(context, wait("w"), END, variables={"x": {"y": [1, None]}}, business_key="key")
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("read again", found, started)
    same("version, status, steps", (found.definition_version, found.status, [*found.current_step_ids]),
         (1, WAITING, ["w"]))  # fmt: skip
    same("variables", json_format.MessageToDict(found.variables), {"x": {"y": [1, None]}})
    same("business_key", found.business_key, "key")
    holds(
        "started_at, no completed_at", found.started_at.seconds and not found.HasField("completed_at"), found
    )
    cancelled = (await _message(context, "CancelInstance", id=started.id, reason="enough")).instance
    holds("completed_at", cancelled.HasField("completed_at"), cancelled)
    same("failure_reason", cancelled.failure_reason, "enough")


@shows("2.1 GetInstanceHistory", "2.3 StepExecution", "2.2 StepExecutionStatus", over=GRPC)
async def get_history(context: CaseContext) -> None:
    started = await _instance(context, transformation("t", {"x": 1}, "a"), service("a", "w"), wait("w"), END)
    (job,) = await context.grpc.jobs(started.definition_id, "a")
    await _message(context, "CompleteJob", job_id=job["id"], worker_id="w")
    first, second, third = (await _message(context, "GetInstanceHistory", id=started.id)).executions
    same("steps", [each.step_id for each in (first, second, third)], ["t", "a", "w"])
    same("types", [each.step_type for each in (first, second, third)], [4, 1, 5])
    same("statuses", [each.status for each in (first, second, third)], [2, 2, 1])
    same("instance and attempt", (second.instance_id, second.attempt_number), (started.id, 1))
    holds("ended_at", second.HasField("ended_at") and not third.HasField("ended_at"), third)
    await _message(context, "CancelInstance", id=started.id, reason="x")
    last = (await _message(context, "GetInstanceHistory", id=started.id)).executions[2]
    same("status and reason", (last.status, last.failure_reason), (3, "instance cancelled"))


@shows("2.1 CancelInstance", over=GRPC)
async def cancel(context: CaseContext) -> None:
    started = await _instance(context, wait("w"), END)
    found = (await _message(context, "CancelInstance", id=started.id, reason="enough")).instance
    same("status and reason", (found.status, found.failure_reason), (CANCELLED, "enough"))


@shows("2.1 ListInstances", over=GRPC)
async def list_instances(context: CaseContext) -> None:
    started = await _instance(context, wait("w"), END, business_key="key")
    for more, wanted in (
        ({}, [started.id]),
        ({"status": WAITING}, [started.id]),
        ({"status": FAILED}, []),
        ({"business_key": "key"}, [started.id]),
        ({"business_key": "another"}, []),
    ):
        answer = await _message(context, "ListInstances", definition_id=started.definition_id, **more)
        same(f"ids with {more}", [each.id for each in answer.instances], wanted)
        same("total", answer.total, len(wanted))


@shows("2.1 PollJobs", "2.3 Job", "2.5 poll-complete", over=GRPC)
async def poll(context: CaseContext) -> None:
    started = await _instance(context, service("a", retryCount=2), END, variables={"x": 1})
    job_type = f"{started.definition_id}.a"
    (job,) = (await _message(context, "PollJobs", worker_id="w", job_types=[job_type])).jobs
    same("type, instance, step", (job.job_type, job.instance_id, job.step_id), (job_type, started.id, "a"))
    (execution,) = (await _message(context, "GetInstanceHistory", id=started.id)).executions
    same("execution and retries", (job.step_execution_id, job.retries_remaining), (execution.id, 2))
    same("variables", json_format.MessageToDict(job.variables), {"x": 1})
    holds("lock_expires_at", job.lock_expires_at.seconds > started.started_at.seconds, job)


@shows("2.1 CompleteJob", over=GRPC)
async def complete(context: CaseContext) -> None:
    started = await _instance(context, service("a"), END)
    (job,) = (
        await _message(context, "PollJobs", worker_id="w", job_types=[f"{started.definition_id}.a"])
    ).jobs
    await _message(context, "CompleteJob", job_id=job.id, worker_id="w", variables_to_set={"x": 1})
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("status and x", (found.status, found.variables["x"]), (COMPLETED, 1))


@shows("2.1 FailJob", over=GRPC)
async def fail(context: CaseContext) -> None:
    started = await _instance(context, service("a", retryCount=1), END)
    for retryable, status in ((True, ACTIVE), (False, FAILED)):
        (job,) = (
            await _message(context, "PollJobs", worker_id="w", job_types=[f"{started.definition_id}.a"])
        ).jobs
        await _message(
            context, "FailJob", job_id=job.id, worker_id="w", retryable=retryable, error_message="broke"
        )
        same("status", (await _message(context, "GetInstance", id=started.id)).instance.status, status)
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("reason", found.failure_reason, "broke")


@shows("2.1 CompleteUserTask", over=GRPC)
async def complete_user_task(context: CaseContext) -> None:
    started = await _instance(context, user_task("u"), END)
    await _message(
        context, "CompleteUserTask",
        instance_id=started.id, user_task_step_id="u", completed_by="ann", result={"x": 1},
    )  # fmt: skip
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("status and x", (found.status, found.variables["x"]), (COMPLETED, 1))


@shows("2.1 SignalWait", over=GRPC)
async def signal_wait(context: CaseContext) -> None:
    started = await _instance(context, wait("w"), END)
    await _message(context, "SignalWait", instance_id=started.id, wait_step_id="w", variables={"x": 1})
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("status and x", (found.status, found.variables["x"]), (COMPLETED, 1))


# -- numbers


@shows("2.2 InstanceStatus", over=GRPC)
async def numbers_of_instance_status(context: CaseContext) -> None:
    same("active", (await _instance(context, service("a"), END)).status, ACTIVE)
    same("waiting", (await _instance(context, wait("w"), END)).status, WAITING)
    same("completed", (await _instance(context, END)).status, COMPLETED)
    same("failed", (await _instance(context, transformation("t", {"x": "${ghost}"}), END)).status, FAILED)


WHOLE: Json = {
    "name": "all of it",
    "description": "what for",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": "no-such",
    "metadata": {"any": [{"depth": 1}, None]},
    "steps": [
        fork("g", ["a", "u", "w"], "j"),
        {
            **service("a", "j", retryCount=2, delegateClass="x.Y", description="first"),
            "boundaryEvents": [
                timer("PT1H", "j", interrupting=True),
                timer("P1D", "end", interrupting=False),
            ],
        },
        user_task("u", "j"),
        step("w", "WAIT", "t", conditionalNextSteps={"way == 1": "j", "way == 2": "t"}),
        transformation("t", {"x": "${1 + 1}", "y": {"deep": [1, None, True]}}, "j"),
        join("j", "d"),
        step("d", "DECISION", conditionalNextSteps={"true": "end"}),
        END,
    ],
}


@shows("2.3 WorkflowDefinition", "2.3 BoundaryEvent", "2.2 StepType", "2.2 BoundaryEventType", over=GRPC)
async def every_field_there_and_back(context: CaseContext) -> None:
    id = fresh_id()
    (await context.grpc.upload({**WHOLE, "id": id})).ok("upload")
    found = (await context.grpc.definition(id)).ok("get")
    same("the definition", found, {**WHOLE, "id": id, "version": 1})


@shows("2.3 WorkflowDefinition", "2.2 StepType", over=GRPC, needs=[Need.REST])
async def the_same_document_over_rest(context: CaseContext) -> None:
    id = fresh_id()
    (await context.grpc.upload({**WHOLE, "id": id})).ok("upload")
    found = (await context.rest.definition(id)).ok("get over REST")
    same("the document", found, {**WHOLE, "id": id, "version": 1})


# -- statuses: what each asks, and the code that must come


async def _of_another_worker(context: CaseContext) -> Reply:
    instance = await context.grpc.run(service("a"), END)
    job = await context.grpc.lease(instance, "a", "holder")
    return await context.grpc.complete(job["id"], {"workerId": "thief"})


async def _cancelled_twice(context: CaseContext) -> Reply:
    instance = await context.grpc.run(END)
    return await context.grpc.cancel(instance["id"])


async def _task_after_the_end(context: CaseContext) -> Reply:
    instance = await context.grpc.run(user_task("u"), END)
    (await context.grpc.cancel(instance["id"])).ok("cancel")
    (await context.grpc.signal(instance["id"], "u")).refused("a signal to a user task", "bad-request")
    return await context.grpc.user_task(instance["id"], "u")


async def _not_parked(context: CaseContext) -> Reply:
    instance = await context.grpc.run(service("a", "w"), wait("w"), END)
    return await context.grpc.signal(instance["id"], "w")


async def _of_another_type(context: CaseContext) -> Reply:
    instance = await context.grpc.run(service("a"), END)
    (await context.grpc.signal(instance["id"], "a")).refused("a signal to a job", "bad-request")
    return await context.grpc.user_task(instance["id"], "a")


async def _unknown_task(context: CaseContext) -> Reply:
    (await context.grpc.user_task("no-such", "u")).refused("an unknown instance", "not-found")
    instance = await context.grpc.run(wait("w"), END)
    return await context.grpc.user_task(instance["id"], "no-such")


def _ask(rpc: str, **fields: Any) -> Callable[[CaseContext], Awaitable[Reply]]:
    async def ask(context: CaseContext) -> Reply:
        return await context.grpc.ask(rpc, **fields)

    return ask


STATUSES: dict[str, tuple[str, Callable[[CaseContext], Awaitable[Reply]]]] = {
    "no-definition": ("INVALID_ARGUMENT", _ask("UploadDefinition")),
    "definition-unknown": ("NOT_FOUND", _ask("GetDefinition", id="no-such")),
    "instance-unknown": ("NOT_FOUND", _ask("GetInstance", id="no-such")),
    "start-unknown": ("NOT_FOUND", _ask("StartInstance", definition_id="no-such")),
    "start-empty": ("INVALID_ARGUMENT", _ask("StartInstance")),
    "cancel-unknown": ("NOT_FOUND", _ask("CancelInstance", id="no-such")),
    "cancel-terminal": ("FAILED_PRECONDITION", _cancelled_twice),
    "history-unknown": ("NOT_FOUND", _ask("GetInstanceHistory", id="no-such")),
    "poll-no-worker": ("INVALID_ARGUMENT", _ask("PollJobs", job_types=["t"])),
    "poll-no-types": ("INVALID_ARGUMENT", _ask("PollJobs", worker_id="w")),
    "complete-unknown": ("NOT_FOUND", _ask("CompleteJob", job_id="no-such", worker_id="w")),
    "fail-unknown": ("NOT_FOUND", _ask("FailJob", job_id="no-such", worker_id="w")),
    "complete-other": ("FAILED_PRECONDITION", _of_another_worker),
    "user-task-empty": ("INVALID_ARGUMENT", _ask("CompleteUserTask", user_task_step_id="u")),
    "signal-empty": ("INVALID_ARGUMENT", _ask("SignalWait", instance_id="i")),
    "user-task-unknown": ("NOT_FOUND", _unknown_task),
    "signal-unknown": ("NOT_FOUND", _ask("SignalWait", instance_id="no-such", wait_step_id="w")),
    "terminal": ("FAILED_PRECONDITION", _task_after_the_end),
    "not-parked": ("FAILED_PRECONDITION", _not_parked),
    "type-mismatch": ("INVALID_ARGUMENT", _of_another_type),
}


def _status(name: str, code: str, ask: Callable[[CaseContext], Awaitable[Reply]]) -> None:
    async def run(context: CaseContext) -> None:
        answer = await ask(context)
        same("status code", answer.said, code)
        holds("a text says why", answer.text, answer)

    add(f"2.4 {name}", run=run, over=GRPC, shown_by="STATUSES")


for name, (code, ask) in STATUSES.items():
    _status(name, code, ask)


@shows("2.4 invalid-definition", over=GRPC)
async def invalid_definition(context: CaseContext) -> None:
    text = (await context.grpc.upload({"id": "no id", "steps": []})).refused("upload", "bad-request")
    for rule in ("id must match", "name is required", "steps must not be empty"):
        contains("every rule", text, rule)


@shows("2.4 fail-other", over=GRPC)
async def fail_of_another_worker(context: CaseContext) -> None:
    instance = await context.grpc.run(service("a"), END)
    job = await context.grpc.lease(instance, "a", "holder")
    same("status code", (await context.grpc.fail(job["id"], {"workerId": "thief"})).said, "OK")
    await context.grpc.status_is(instance, "ACTIVE", ["a"])


# -- differences from REST


@shows("2.5 poll-default", over=GRPC)
async def one_job_by_default(context: CaseContext) -> None:
    id = await context.grpc.define(service("a"), END)
    for _ in range(2):
        await context.grpc.begin(id)
    for _ in range(2):
        answer = await _message(context, "PollJobs", worker_id="w", job_types=[f"{id}.a"])
        same("jobs", len(answer.jobs), 1)


@shows("2.5 metadata", over=GRPC)
async def metadata_is_kept(context: CaseContext) -> None:
    id = await context.grpc.define(END, metadata={"any": {"depth": [1]}}, version=7)
    found = (await context.grpc.definition(id)).ok("get")
    same("metadata and version", (found.get("metadata"), found["version"]), ({"any": {"depth": [1]}}, 1))


@shows("2.5 unknown-enum", over=GRPC)
async def unknown_numbers(context: CaseContext) -> None:
    upload = CLASSES["UploadDefinitionRequest"]()
    json_format.ParseDict(
        {"definition": {"id": fresh_id(), "name": "n", "steps": [{"id": "a", "name": "a"}]}}, upload
    )
    upload.definition.steps[0].type = 99
    (await context.grpc.call("UploadDefinition", upload)).refused("a step type of 99", "bad-request")
    listed = CLASSES["ListInstancesRequest"](status=99)
    (await context.grpc.call("ListInstances", listed)).refused("a status of 99", "bad-request")
    (await context.grpc.ask("ListDefinitions", page_size=1)).ok("a call afterwards")


@shows("2.5 sorted-branches", over=GRPC)
async def branches_are_sorted(context: CaseContext) -> None:
    ways = {"true || false": "second", "true": "first", "true || true": "third"}
    steps = (
        step("d", "DECISION", conditionalNextSteps=ways),
        wait("first"),
        wait("second"),
        wait("third"),
        END,
    )
    (await context.grpc.upload(document(id := fresh_id(), *steps))).ok("upload")
    same("currentStepIds", (await context.grpc.begin(id))["currentStepIds"], ["first"])


@shows("2.5 integral-numbers", over=GRPC, needs=[Need.REST])
async def whole_numbers(context: CaseContext) -> None:
    """In variables and in a definition, as REST writes them."""
    started = await context.grpc.run(
        transformation("t", {"more": 7.0}, "w"), wait("w"), END, variables={"whole": 3, "half": 0.5}
    )
    for path, numbers in (
        (f"/v1/instances/{started['id']}", ('"whole":3', '"half":0.5', '"more":7')),
        (f"/v1/definitions/{started['definitionId']}", ('"more":7',)),
    ):
        raw = (await context.rest.raw("GET", path)).body.decode().replace(": ", ":")
        for number in numbers:
            holds(f"{number} over REST", f"{number}," in raw or f"{number}}}" in raw, raw)


@shows("2.5 absent-struct", over=GRPC)
async def no_struct(context: CaseContext) -> None:
    started = await _instance(context, wait("w"), END)
    same("variables", json_format.MessageToDict(started.variables), {})
    await _message(context, "SignalWait", instance_id=started.id, wait_step_id="w")
    found = (await _message(context, "GetInstance", id=started.id)).instance
    same("status and variables", (found.status, json_format.MessageToDict(found.variables)), (COMPLETED, {}))

"""Contract 1.4: the fields of every answer, one row a field."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from workflow import END, Json, decision, service, timer, transformation, user_task, wait

from suite.case import REST, Differs, Transport, add, holds, same, shows
from suite.context import CaseContext
from suite.doors import fresh_id

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
STATUSES = {"ACTIVE", "WAITING", "COMPLETED", "FAILED", "CANCELLED"}


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def is_time(value: object) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_id(value: object) -> bool:
    return isinstance(value, str) and ULID.fullmatch(value) is not None


def _each(
    make: Callable[[CaseContext], Awaitable[Json]],
    checks: Mapping[str, tuple[str, Callable[[Any], bool]]],
    over: tuple[Transport, ...],
) -> None:
    """A case a row: the answer's field, and what must be true of it."""
    for key, (field, is_right) in checks.items():

        async def run(
            context: CaseContext, field: str = field, is_right: Callable[[Any], bool] = is_right
        ) -> None:
            answer = await make(context)
            holds(f"{field} is there", field in answer, answer)
            holds(f"{field} is as promised", is_right(answer[field]), answer[field])

        add(key, run=run, over=over, shown_by=make.__name__)


# -- definitions


async def summary(context: CaseContext) -> Json:
    id = fresh_id()
    found: Json = (await context.door.upload({"id": id, "name": "n", "steps": [END]})).ok("upload")
    same("id", found["id"], id)
    return found


_each(
    summary,
    {
        "1.4 summary-id": ("id", is_text),
        "1.4 summary-version": ("version", lambda value: is_integer(value) and value == 1),
        "1.4 summary-name": ("name", lambda value: value == "n"),
        "1.4 summary-uploaded-at": ("uploadedAt", is_time),
    },
    REST,
)

DOCUMENT: Json = {
    "name": "all of it",
    "description": "what for",
    "steps": [
        {
            **service("a", "b", retryCount=2, delegateClass="x.Y", description="first"),
            "boundaryEvents": [timer("PT1H", "end", interrupting=True)],
        },
        decision("b", {"true": "c"}),
        transformation("c", {"x": {"deep": [1, None]}}),
        END,
    ],
    "metadata": {"any": [{"depth": 1}]},
}


@shows("1.4 definition-document", over=REST)
async def the_document(context: CaseContext) -> None:
    id = fresh_id()
    (await context.door.upload({**DOCUMENT, "id": id})).ok("upload")
    same("definition", (await context.door.definition(id)).ok("get"), {**DOCUMENT, "id": id, "version": 1})


@shows("1.4 definition-empty-fields", over=REST)
async def empty_fields(context: CaseContext) -> None:
    id = await context.door.define(service("a", description="", delegateClass=""), END, description="")
    found = (await context.door.definition(id)).ok("get")
    holds("no description", "description" not in found, found)
    holds(
        "no empty field in a step",
        not {"description", "delegateClass", "conditionalNextSteps", "boundaryEvents"}
        & set(found["steps"][0]),
        found["steps"][0],
    )


@shows("1.4 definition-interrupting", "3.3 interrupting")
async def interrupting_is_always_there(context: CaseContext) -> None:
    event = {"type": "TIMER", "duration": "PT1H", "targetStepId": "end"}
    id = await context.door.define(wait("w", boundaryEvents=[event]), END)
    (found,) = (await context.door.definition(id)).ok("get")["steps"][0]["boundaryEvents"]
    same("interrupting", found["interrupting"], False)


# -- instances


async def instance(context: CaseContext) -> Json:
    id = await context.door.define(wait("w"), END)
    started = await context.door.begin(id, businessKey="key")
    same("definitionId", started["definitionId"], id)
    return started


_each(
    instance,
    {
        "1.4 instance-id": ("id", is_id),
        "1.4 instance-definition-id": ("definitionId", is_text),
        "1.4 instance-definition-version": (
            "definitionVersion",
            lambda value: is_integer(value) and value == 1,
        ),
        "1.4 instance-status": ("status", lambda value: value in STATUSES),
        "1.4 instance-variables": ("variables", lambda value: value == {}),
        "1.4 instance-started-at": ("startedAt", is_time),
    },
    (Transport.REST, Transport.GRPC),
)


@shows("1.4 instance-current-steps")
async def current_steps(context: CaseContext) -> None:
    same("of one that waits", (await context.door.run(wait("w"), END))["currentStepIds"], ["w"])
    same("of one that has ended", (await context.door.run(END))["currentStepIds"], [])


@shows("1.4 instance-completed-at")
async def completed_at(context: CaseContext) -> None:
    waiting = await context.door.run(wait("w"), END)
    holds("none before the end", "completedAt" not in waiting, waiting)
    holds("none before the end, on a get", "completedAt" not in await context.door.read(waiting), waiting)
    ended = await context.door.run(END)
    holds("in a start's answer", is_time(ended.get("completedAt")), ended)
    holds("on a get", is_time((await context.door.read(ended)).get("completedAt")), ended)
    cancelled = (await context.door.cancel(waiting["id"], "x")).ok("cancel")
    holds("in a cancel's answer", is_time(cancelled.get("completedAt")), cancelled)
    (listed,) = (await context.door.instances(definitionId=ended["definitionId"])).ok("list")["items"]
    holds("in a list", is_time(listed.get("completedAt")), listed)


@shows("1.4 instance-failure-reason")
async def failure_reason(context: CaseContext) -> None:
    failed = await context.door.run(decision("d", {"ghost": "end"}), END)
    same("status", failed["status"], "FAILED")
    holds("in a start's answer", is_text(failed.get("failureReason")), failed)
    same("on a get", (await context.door.read(failed)).get("failureReason"), failed["failureReason"])
    holds("not on one that goes well", "failureReason" not in await context.door.run(END), None)


@shows("1.4 instance-business-key")
async def business_key(context: CaseContext) -> None:
    started = await instance(context)
    same("in a start's answer", started.get("businessKey"), "key")
    same("on a get", (await context.door.read(started)).get("businessKey"), "key")
    same(
        "in a cancel's answer",
        (await context.door.cancel(started["id"])).ok("cancel").get("businessKey"),
        "key",
    )
    holds("none when none was given", "businessKey" not in await context.door.run(END), None)


# -- history


async def history(context: CaseContext) -> Json:
    """A row of a failed step, with its first one under `first`."""
    found = await context.door.run(user_task("u", "a"), service("a"), END)
    (await context.door.user_task(found["id"], "u", {"x": 1})).ok("user task")
    job = await context.door.lease(found, "a")
    (await context.door.fail(job["id"], {"workerId": "w", "errorMessage": "broke"})).ok("fail")
    first, last = await context.door.trail(found)
    return {**last, "first": first, "instance": found["id"]}


def _twice(
    camel: str, pascal: str, is_right: Callable[[Json], bool]
) -> Callable[[CaseContext], Awaitable[None]]:
    async def run(context: CaseContext) -> None:
        row = await history(context)
        holds(f"{camel} is as promised", camel in row and is_right(row), row.get(camel))
        if context.door.transport is Transport.REST:
            same(f"{pascal} beside {camel}", row.get(pascal, "absent"), row[camel])

    return run


for key, camel, pascal, is_right in (
    ("1.4 history-id", "id", "ID", lambda row: is_id(row["id"])),
    ("1.4 history-instance-id", "instanceId", "InstanceID", lambda row: row["instanceId"] == row["instance"]),
    ("1.4 history-step-id", "stepId", "StepID", lambda row: row["stepId"] == "a"),
    ("1.4 history-step-type", "stepType", "StepType", lambda row: row["stepType"] == "SERVICE_TASK"),
    ("1.4 history-attempt", "attemptNumber", "AttemptNumber", lambda row: row["attemptNumber"] == 1),
    ("1.4 history-status", "status", "Status",
     lambda row: (row["first"]["status"], row["status"]) == ("COMPLETED", "FAILED")),
    ("1.4 history-started-at", "startedAt", "StartedAt", lambda row: is_time(row["startedAt"])),
    ("1.4 history-ended-at", "endedAt", "EndedAt", lambda row: is_time(row["endedAt"])),
    ("1.4 history-failure-reason", "failureReason", "FailureReason",
     lambda row: (row["first"]["failureReason"], row["failureReason"]) == (None, "broke")),
):  # fmt: skip
    add(key, run=_twice(camel, pascal, is_right), shown_by=history.__name__)


@shows("1.4 history-ended-at")
async def open_steps(context: CaseContext) -> None:
    (row,) = await context.door.trail(await context.door.run(wait("w"), END))
    same("endedAt of a running step", row["endedAt"], None)


@shows("1.4 history-snapshots", over=REST)
async def snapshots(context: CaseContext) -> None:
    row = await history(context)
    for key in ("InputSnapshot", "OutputSnapshot", "inputSnapshot", "outputSnapshot"):
        holds(f"{key} is there", key in row, sorted(row))
    holds("the input is null or what went in", row["inputSnapshot"] in (None, {"x": 1}), row["inputSnapshot"])


# -- jobs


async def job(context: CaseContext) -> Json:
    found = await context.door.run(service("a", retryCount=3), END, variables={"x": None, "y": [1]})
    return {**(await context.door.lease(found, "a", "worker 1")), "of": found}


def is_lease(found: Json) -> bool:
    return (
        is_time(found["lockedAt"])
        and is_time(found["lockExpiresAt"])
        and found["lockedAt"] < found["lockExpiresAt"]
    )


_JOBS: Mapping[str, tuple[tuple[Transport, ...], Callable[[Json], bool]]] = {
    "1.4 job-ids": (
        (Transport.REST, Transport.GRPC),
        lambda job: (
            is_id(job["id"])
            and is_id(job["stepExecutionId"])
            and job["instanceId"] == job["of"]["id"]
            and job["jobType"] == f"{job['of']['definitionId']}.a"
        ),
    ),
    "1.4 job-step-id": ((Transport.REST, Transport.GRPC), lambda job: job["stepId"] == "a"),
    "1.4 job-status": (REST, lambda job: job["status"] == "LOCKED"),
    "1.4 job-worker-id": (REST, lambda job: job["workerId"] == "worker 1"),
    "1.4 job-lease": (REST, is_lease),
    "1.4 job-retries": ((Transport.REST, Transport.GRPC), lambda job: job["retriesRemaining"] == 3),
    "1.4 job-variables": (
        (Transport.REST, Transport.GRPC),
        lambda job: job["variables"] == {"x": None, "y": [1]},
    ),
    "1.4 job-created-at": (REST, lambda job: is_time(job["createdAt"])),
}


def _job_row(key: str, over: tuple[Transport, ...], is_right: Callable[[Json], bool]) -> None:
    async def run(context: CaseContext) -> None:
        found = await job(context)
        try:
            right = is_right(found)
        except KeyError as missing:
            raise Differs(f"a polled job: expected {missing} in it, got {sorted(found)}") from None
        holds("the job is as promised", right, found)

    add(key, run=run, over=over, shown_by=job.__name__)


for key, (over, is_right) in _JOBS.items():
    _job_row(key, over, is_right)


# -- values


@shows("1.4 times", over=REST)
async def times(context: CaseContext) -> None:
    """Fractions differ from time to time: of forty, one with trailing zeros would show."""
    for _ in range(20):
        started = await context.door.run(END)
        for field in ("startedAt", "completedAt"):
            holds(f"{field} is UTC with up to 6 digits", is_time(started[field]), started[field])
            holds(
                f"{field} has no trailing zeros",
                re.search(r"(:\d\d|\.\d*[1-9])Z$", started[field]),
                started[field],
            )
            holds(f"{field} can be read", datetime.fromisoformat(started[field]), started[field])


@shows("1.4 integers", over=REST)
async def integers(context: CaseContext) -> None:
    """Computed ones, and ones that a client wrote with a fraction of zero."""
    changes = {"third": "${nine / 3}", "sum": "${1.5 + 1.5}", "same": "${nine}"}
    id = await context.door.define(transformation("t", changes), END)
    body = b'{"definitionId": "%b", "variables": {"nine": 9.0, "deep": {"hundred": 1e2}}}' % id.encode()
    started = await context.rest.raw("POST", "/v1/instances", body)
    again = await context.rest.raw("GET", f"/v1/instances/{started.json['id']}")
    for answer in (started, again):
        for name, number in (("third", 3), ("sum", 3), ("same", 9), ("nine", 9), ("hundred", 100)):
            wanted = rf'"{name}": ?{number}[,}}]'
            holds(f"{name} is written {number}", re.search(wanted, answer.body.decode()), answer.body)

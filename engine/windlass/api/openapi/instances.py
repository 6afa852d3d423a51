"""Runs of a definition: start, read, list, history, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windlass.api import bounds
from windlass.api.history import pascal
from windlass.api.openapi.definitions import NO_DEFINITION
from windlass.api.openapi.operation import FAILS_OR_SHED, PAGE_TOKEN, PAGING, Link, Operation, path_id
from windlass.api.openapi.shape import (
    NEXT_PAGE_TOKEN,
    Schema,
    cursor_page_of,
    integer,
    or_null,
    record,
    ref,
    text,
    time,
    ulid,
    variables,
    whole,
    word,
)
from windlass.definition.model import StepType
from windlass.states import InstanceStatus, StepStatus
from windlass.wire import INSTANCES_COUNTED_MAX

INSTANCE_ID = path_id("The instance's id.")
NO_INSTANCE = "There is no such instance."

_FROM_INSTANCE: Mapping[str, Link] = {
    "get": ("getInstance", {"id": "$response.body#/id"}, None),
    "history": ("getInstanceHistory", {"id": "$response.body#/id"}, None),
    "cancel": ("cancelInstance", {"id": "$response.body#/id"}, None),
    "completeUserTask": (
        "completeUserTask",
        {"instanceId": "$response.body#/id", "userTaskId": "$response.body#/currentStepIds/0"},
        None,
    ),
    "signal": (
        "signalWait",
        {"instanceId": "$response.body#/id", "waitStepId": "$response.body#/currentStepIds/0"},
        None,
    ),
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="startInstance",
        method="post",
        path="/v1/instances",
        tag="instances",
        summary="Start an instance",
        description="Runs until every branch has to wait, so the answer may already be WAITING or final. Not "
        "idempotent: two calls start two instances.",
        body="StartInstance",
        body_examples={"greet": {"definitionId": "greet", "variables": {"who": "Ada"}}},
        status=201,
        answer="Instance",
        answer_description="The instance in its current state.",
        refused={404: NO_DEFINITION},
        fails=FAILS_OR_SHED,
        links=_FROM_INSTANCE,
    ),
    Operation(
        id="listInstances",
        method="get",
        path="/v1/instances",
        tag="instances",
        summary="List instances",
        description="Newest first. A page may have fewer instances than were asked for if they are large; "
        "nextPageToken leads to the next one.",
        query={
            "definitionId": text("Only instances of this definition, of all versions."),
            "status": text("Only instances with this status; an unknown status finds nothing."),
            "businessKey": text("Only instances with exactly this business key."),
            **PAGING,
            **PAGE_TOKEN,
        },
        answer="InstancePage",
        answer_description="A page.",
        links={"get": ("getInstance", {"id": "$response.body#/items/0/id"}, None)},
    ),
    Operation(
        id="getInstance",
        method="get",
        path="/v1/instances/{id}",
        tag="instances",
        summary="Get an instance",
        path_schemas={"id": INSTANCE_ID},
        answer="Instance",
        answer_description="The instance in its current state.",
        refused={404: NO_INSTANCE},
        links=_FROM_INSTANCE,
    ),
    Operation(
        id="getInstanceHistory",
        method="get",
        path="/v1/instances/{id}/history",
        tag="instances",
        summary="Get the steps an instance has been through",
        path_schemas={"id": INSTANCE_ID},
        query={"pageToken": text("The nextPageToken of the page before.")},
        answer="History",
        answer_description="Oldest first: all of it, or a page.",
        refused={404: NO_INSTANCE},
    ),
    Operation(
        id="cancelInstance",
        method="post",
        path="/v1/instances/{id}/cancel",
        tag="instances",
        summary="Cancel an instance",
        description="Its jobs, tasks and timers end with it.",
        path_schemas={"id": INSTANCE_ID},
        body="CancelInstance",
        body_required=False,
        body_examples={"why": {"reason": "the customer withdrew"}},
        answer="Instance",
        answer_description="The cancelled instance.",
        refused={404: NO_INSTANCE, 409: "The instance has already ended."},
    ),
)


def _step_execution() -> Schema:
    """Both spellings of each key, with equal values (contract 1.4)."""
    snapshot = {"type": ["object", "null"]}
    camel: dict[str, Schema] = {
        "id": ulid("A ULID."),
        "instanceId": ulid("The instance of the step."),
        "stepId": word("Which step."),
        "stepType": word("Its type.", enum=list(StepType)),
        "attemptNumber": integer("The n-th entry into that step by that instance, from 1.", minimum=1),
        "status": word("Its status.", enum=list(StepStatus)),
        "startedAt": time("When it was entered."),
        "endedAt": or_null(time("When it ended.")),
        "failureReason": or_null(word("Why it failed.")),
        "inputSnapshot": {**snapshot, "description": "The variables that it began with, if kept."},
        "outputSnapshot": {**snapshot, "description": "The variables that it produced, if kept."},
    }
    twice = {pascal(key): {**schema, "description": f"Equal to {key}."} for key, schema in camel.items()}
    return whole(
        {**camel, **twice},
        description="One entry into a step. Each key appears twice: spelled like other fields here, and as older "
        "scripts expect it.",
    )


SCHEMAS: Mapping[str, Schema] = {
    "StartInstance": record(
        ("definitionId",),
        {
            "definitionId": text("The definition to run.", minLength=1, examples=["greet"]),
            "definitionVersion": or_null(integer("Absent, null or below 1 means the newest.")),
            "variables": variables("The variables that the instance begins with."),
            "businessKey": or_null(
                text(
                    f"Your own key to find it by, not unique; at most {bounds.BUSINESS_KEY_BYTES_MAX} bytes."
                )
            ),
        },
    ),
    "CancelInstance": record((), {"reason": or_null(word("Becomes the failureReason."))}),
    "Instance": record(
        (
            "id",
            "definitionId",
            "definitionVersion",
            "status",
            "currentStepIds",
            "variables",
            "startedAt",
        ),
        {
            "id": ulid("A ULID."),
            "definitionId": word("The definition that it runs."),
            "definitionVersion": integer("Fixed when it starts.", minimum=1),
            "status": word(
                "WAITING: parked at a USER_TASK or WAIT. COMPLETED, FAILED and CANCELLED are final.",
                enum=list(InstanceStatus),
            ),
            "currentStepIds": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The steps in progress; empty when final.",
            },
            "variables": {"type": "object", "description": "The current variables."},
            "startedAt": time("When it was started."),
            "completedAt": time("When it ended; absent before."),
            "failureReason": word("Why it failed or was cancelled; absent otherwise."),
            "businessKey": word("As given at its start; absent if none was given."),
        },
    ),
    "InstancePage": cursor_page_of(
        "Instance",
        "How many match on all pages together, as far as they are counted: "
        f"up to {INSTANCES_COUNTED_MAX} past this page.",
    ),
    "History": record(
        ("items",),
        {"items": {"type": "array", "items": ref("StepExecution")}, "nextPageToken": NEXT_PAGE_TOKEN},
    ),
    "StepExecution": _step_execution(),
}

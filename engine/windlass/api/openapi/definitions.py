"""Definitions: their format (contract 3), upload and reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windlass.api.openapi.operation import PAGE_TOKEN, PAGING, Operation, path_id
from windlass.api.openapi.shape import (
    Schema,
    cursor_page_of,
    integer,
    or_null,
    record,
    ref,
    text,
    time,
    whole,
    word,
)
from windlass.definition import document, duration, validation
from windlass.definition.model import StepType

#: The fields that each step type needs besides id, name and type (contract 3.5).
STEP_NEEDS: Mapping[StepType, tuple[str, ...]] = {
    StepType.SERVICE_TASK: ("jobType",),
    StepType.DECISION: ("conditionalNextSteps",),
    StepType.TRANSFORMATION: ("nextStep", "transformations"),
    StepType.WAIT: ("nextStep",),
    StepType.PARALLEL_GATEWAY: ("parallelNextSteps", "joinStep"),
    StepType.JOIN_GATEWAY: ("nextStep",),
}

DEFINITION_ID = path_id("The definition's id.")
NO_DEFINITION = "There is no such definition, or no such version of it."

GREET: Mapping[str, Any] = {
    "id": "greet",
    "name": "Greet somebody",
    "steps": [
        {
            "id": "hello",
            "name": "Say hello",
            "type": "SERVICE_TASK",
            "jobType": "say-hello",
            "nextStep": "done",
        },
        {"id": "done", "name": "Done", "type": "END"},
    ],
}
APPROVE: Mapping[str, Any] = {
    "id": "approve",
    "name": "Approve a loan",
    "steps": [
        {
            "id": "decide",
            "name": "Decide",
            "type": "USER_TASK",
            "nextStep": "paid",
            "boundaryEvents": [
                {"type": "TIMER", "duration": "P7D", "interrupting": True, "targetStepId": "lapsed"}
            ],
        },
        {"id": "paid", "name": "Wait for the payment", "type": "WAIT", "nextStep": "done"},
        {"id": "lapsed", "name": "Nobody decided", "type": "END"},
        {"id": "done", "name": "Done", "type": "END"},
    ],
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="uploadDefinition",
        method="post",
        path="/v1/definitions",
        tag="definitions",
        summary="Store a definition",
        description="Content that equals a stored version of the id, as JSON values, is that version; other content "
        "becomes the next version. All errors are reported at once, one per line.",
        body="Definition",
        body_examples={"a job": GREET, "people and time": APPROVE},
        status=201,
        answer="DefinitionSummary",
        answer_description="The stored version, whether new or not.",
        links={
            "get": ("getDefinition", {"id": "$response.body#/id"}, None),
            "getVersion": (
                "getDefinitionVersion",
                {"id": "$response.body#/id", "version": "$response.body#/version"},
                None,
            ),
            "start": ("startInstance", {}, {"definitionId": "$response.body#/id"}),
        },
    ),
    Operation(
        id="listDefinitions",
        method="get",
        path="/v1/definitions",
        tag="definitions",
        summary="List definitions",
        description="The newest version of each id, by id. A page may have fewer than were asked for if they are "
        "large; nextPageToken leads to the next one.",
        query={
            "keyword": text(
                "Text to find in the id or the name, regardless of case; no character is special."
            ),
            **PAGING,
            **PAGE_TOKEN,
        },
        answer="DefinitionPage",
        answer_description="A page.",
        links={"get": ("getDefinition", {"id": "$response.body#/items/0/id"}, None)},
    ),
    Operation(
        id="getDefinition",
        method="get",
        path="/v1/definitions/{id}",
        tag="definitions",
        summary="Get the newest version of a definition",
        path_schemas={"id": DEFINITION_ID},
        answer="StoredDefinition",
        answer_description="The definition.",
        refused={404: NO_DEFINITION},
    ),
    Operation(
        id="getDefinitionVersion",
        method="get",
        path="/v1/definitions/{id}/versions/{version}",
        tag="definitions",
        summary="Get one version of a definition",
        path_schemas={
            "id": DEFINITION_ID,
            "version": {"type": "integer", "minimum": 1, "description": "The version."},
        },
        answer="StoredDefinition",
        answer_description="The definition.",
        refused={404: NO_DEFINITION},
    ),
)


def _definition() -> Schema:
    return record(
        ("id", "name", "steps"),
        {
            "id": word(
                "Uploads of one id are versions of one definition.",
                minLength=1,
                maxLength=validation.ID_CHARS_MAX,
                pattern=f"^{validation.ID_PATTERN.pattern}$",
                examples=["greet"],
            ),
            "version": or_null(integer("Ignored: the engine assigns it.")),
            "name": text("For people.", minLength=1),
            "description": or_null(text("For people.")),
            "autoStartNextWorkflow": or_null(
                {"type": "boolean", "description": "Start nextWorkflowId when an instance completes."}
            ),
            "nextWorkflowId": or_null(text("The definition to start then; it may be uploaded later.")),
            "steps": {
                "type": "array",
                "minItems": 1,
                "items": ref("Step"),
                "description": "The first step is the entry. Ids must be unique, references must name steps, and every "
                "step and an END must be reachable.",
            },
            "metadata": {"type": ["object", "null"], "description": "For your own use; returned unchanged."},
        },
        description="A workflow as it is uploaded. Null means absent; an unknown field outside `metadata` is refused; "
        f"nested at most {document.NESTING_MAX} levels deep.",
        additionalProperties=False,
    )


def _step() -> Schema:
    step_ids = {"type": "array", "items": text("A step id."), "minItems": 2}
    return record(
        ("id", "name", "type"),
        {
            "id": text("Unique in the definition.", minLength=1),
            "name": text("For people.", minLength=1),
            "type": word("What the step does.", enum=list(StepType)),
            "description": or_null(text("For people.")),
            "nextStep": or_null(text("The step that follows this one.")),
            "conditionalNextSteps": {
                "type": ["object", "null"],
                "additionalProperties": text("The step to go to."),
                "description": "Maps expressions to step ids. They are tried in the order of the document; the first "
                "that is true wins, before nextStep.",
            },
            "transformations": {
                "type": ["object", "null"],
                "description": 'Maps variables to values, in the order of the document; "${expression}" is evaluated.',
            },
            "parallelNextSteps": {**or_null(step_ids), "description": "The first step of each branch."},
            "joinStep": or_null(text("The JOIN_GATEWAY where the branches meet.")),
            "jobType": or_null(text("The type that workers poll for.")),
            "delegateClass": or_null(text("Stored and never used.")),
            "retryCount": or_null(
                integer(
                    "How often the job is put back after a retryable failure.",
                    minimum=0,
                    maximum=validation.RETRY_COUNT_MAX,
                )
            ),
            "boundaryEvents": {
                "type": ["array", "null"],
                "items": ref("BoundaryEvent"),
                "description": "Timers of a SERVICE_TASK, USER_TASK or WAIT; ignored in other steps.",
            },
        },
        description="One step. Which fields it needs besides id, name and type depends on its type.",
        additionalProperties=False,
        allOf=[
            {
                "if": {"properties": {"type": {"const": str(kind)}}, "required": ["type"]},
                "then": {"required": list(needs)},
            }
            for kind, needs in STEP_NEEDS.items()
        ],
    )


def _boundary_event() -> Schema:
    return record(
        ("type", "duration", "targetStepId"),
        {
            "type": word("Only timers.", enum=["TIMER"]),
            "duration": text(
                "ISO 8601, weeks to seconds, more than zero.",
                pattern=f"^{duration.DURATION.pattern}$",
                examples=["PT48H", "P7D", "PT1H30M"],
            ),
            "interrupting": {
                "type": ["boolean", "null"],
                "description": "Whether the step ends when it fires; default false.",
            },
            "targetStepId": text("Where the timer leads.", minLength=1),
        },
        additionalProperties=False,
    )


SCHEMAS: Mapping[str, Schema] = {
    "Definition": _definition(),
    "Step": _step(),
    "BoundaryEvent": _boundary_event(),
    "DefinitionSummary": record(
        ("id", "version", "name", "uploadedAt"),
        {
            "id": word("The definition's id."),
            "version": integer("Assigned by the engine, from 1.", minimum=1),
            "name": word("The definition's name."),
            "uploadedAt": time("When this content was first stored."),
            "description": word("The definition's description, if it has one."),
        },
    ),
    "DefinitionPage": cursor_page_of("DefinitionSummary"),
    "StoredDefinition": whole(
        {
            "id": word("The definition's id."),
            "version": integer("Assigned by the engine, from 1.", minimum=1),
            "name": word("The definition's name."),
            "steps": {"type": "array", "items": {"type": "object"}, "description": "As uploaded."},
        },
        description="The uploaded document with its version, keys in the order of the upload; optional fields without "
        "a value are left out, except `interrupting`.",
    ),
}

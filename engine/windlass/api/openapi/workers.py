"""Workers that say who they are: register, heartbeat, leave, and who is alive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windlass.api import bounds
from windlass.api.openapi.operation import PAGE_TOKEN, PAGING, Operation, path_id
from windlass.api.openapi.shape import Schema, cursor_page_of, integer, record, text, time, whole, word

_ID = path_id("The worker's id.")
_THIS = {"id": "$response.body#/id"}
_SECONDS = {"minimum": bounds.WORKER_HEARTBEAT_S_MIN, "maximum": bounds.WORKER_HEARTBEAT_S_MAX}

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="registerWorker",
        method="post",
        path="/v1/workers",
        tag="workers",
        summary="Register a worker",
        description="Optional: a worker that has not registered polls all the same. A worker that is known already is "
        "replaced by what is told now, and answered 200. The id should be the workerId of its polls.",
        body="RegisterWorker",
        body_examples={
            "greeter": {"id": "worker-1", "jobTypes": ["say-hello"], "version": "1.4.0", "capacity": 10}
        },
        status=201,
        status_of_repeat=200,
        answer="Worker",
        answer_description="Registered; 200 if it was known already.",
        links={
            "heartbeat": ("heartbeatWorker", _THIS, None),
            "leave": ("unregisterWorker", _THIS, None),
        },
    ),
    Operation(
        id="listWorkers",
        method="get",
        path="/v1/workers",
        tag="workers",
        summary="List the workers that are alive",
        description="In order of ids. A worker is alive until three of its heartbeats are missing. A page "
        "may have fewer than were asked for if they are large; nextPageToken leads to the next one.",
        query={**PAGING, **PAGE_TOKEN},
        answer="WorkerPage",
        answer_description="A page.",
    ),
    Operation(
        id="heartbeatWorker",
        method="post",
        path="/v1/workers/{id}/heartbeat",
        tag="workers",
        summary="Say that a worker is alive",
        path_schemas={"id": _ID},
        status=204,
        refused={
            404: "There is no such worker: it has not registered, or was silent for an hour. Register it."
        },
    ),
    Operation(
        id="unregisterWorker",
        method="delete",
        path="/v1/workers/{id}",
        tag="workers",
        summary="Take a worker off the list",
        description="Its leases are not touched: it may still complete what it has in hand.",
        path_schemas={"id": _ID},
        status=204,
        refused={404: "There is no such worker."},
    ),
)

SCHEMAS: Mapping[str, Schema] = {
    "RegisterWorker": record(
        ("id", "jobTypes"),
        {
            "id": text(
                "Who it is, best the workerId of its polls.",
                minLength=1,
                maxLength=bounds.WORKER_TEXT_CHARS_MAX,
                examples=["worker-1"],
            ),
            "jobTypes": {
                "type": "array",
                "minItems": 1,
                "maxItems": bounds.WORKER_JOB_TYPES_MAX,
                "items": text("A job type.", minLength=1, maxLength=bounds.WORKER_TEXT_CHARS_MAX),
                "description": "What it does; a repeated type counts once.",
            },
            "version": {
                **text("Of the worker's program.", maxLength=bounds.WORKER_TEXT_CHARS_MAX),
                "type": ["string", "null"],
            },
            "capacity": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": bounds.WORKER_CAPACITY_MAX,
                "default": 1,
                "description": "How many jobs it does at a time.",
            },
            "heartbeatSeconds": {
                "type": ["number", "null"],
                **_SECONDS,
                "default": bounds.WORKER_HEARTBEAT_S_DEFAULT,
                "description": "The pause between two of its heartbeats.",
            },
        },
    ),
    "Worker": whole(
        {
            "id": word("Who it is."),
            "jobTypes": {"type": "array", "items": word("A job type."), "description": "What it does."},
            "version": word("Of its program; empty if it has not said."),
            "capacity": integer("How many jobs it does at a time.", minimum=1),
            "heartbeatSeconds": {
                "type": "number",
                **_SECONDS,
                "description": "The pause between two of its heartbeats.",
            },
            "state": word(
                "LATE while a heartbeat is overdue by half of the pause or more.", enum=["ALIVE", "LATE"]
            ),
            "registeredAt": time("When it registered last."),
            "lastSeenAt": time("Its last heartbeat."),
        },
    ),
    "WorkerPage": cursor_page_of("Worker"),
}

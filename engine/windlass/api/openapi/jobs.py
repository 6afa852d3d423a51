"""Work for workers: poll, complete, fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windlass.api import bounds
from windlass.api.openapi.operation import Operation, path_id
from windlass.api.openapi.shape import (
    Schema,
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
from windlass.config import Settings

_JOB_ID = path_id("The job's id.")

_LEASE = {
    "workerId": "$response.body#/jobs/0/workerId",
    "leaseToken": "$response.body#/jobs/0/leaseToken",
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="pollJobs",
        method="post",
        path="/v1/jobs/poll",
        tag="jobs",
        summary="Lease jobs",
        description="Any replica answers, and any may be asked next. A job whose lease lapses goes to another worker.",
        body="PollJobs",
        body_examples={
            "greet": {"workerId": "worker-1", "jobTypes": ["say-hello"], "maxJobs": 10, "leaseSeconds": 30}
        },
        answer="Jobs",
        answer_description="The leased jobs, none when there is nothing to do.",
        refused={
            410: "Jobs travel through the broker (WE_DISPATCH_MODE=kafka_outbox); complete and fail stay available."
        },
        links={
            "complete": ("completeJob", {"id": "$response.body#/jobs/0/id"}, _LEASE),
            "fail": ("failJob", {"id": "$response.body#/jobs/0/id"}, {**_LEASE, "retryable": True}),
            "instance": ("getInstance", {"id": "$response.body#/jobs/0/instanceId"}, None),
        },
    ),
    Operation(
        id="completeJob",
        method="post",
        path="/v1/jobs/{id}/complete",
        tag="jobs",
        summary="Complete a job",
        description="A repeat, and a completion of a job that has ended otherwise, change "
        "nothing and are answered 204.",
        path_schemas={"id": _JOB_ID},
        body="CompleteJob",
        body_examples={
            "greeted": {"workerId": "worker-1", "leaseToken": "1", "variables": {"said": "Hello, Ada"}}
        },
        status=204,
        refused={
            404: "There is no such job.",
            409: "The lease is over: another worker holds the job, or the leaseToken is an older one. Drop the result.",
        },
    ),
    Operation(
        id="failJob",
        method="post",
        path="/v1/jobs/{id}/fail",
        tag="jobs",
        summary="Report that a job failed",
        description="A fail from whoever no longer holds the lease changes nothing and is answered 204.",
        path_schemas={"id": _JOB_ID},
        body="FailJob",
        body_examples={
            "later": {
                "workerId": "worker-1",
                "leaseToken": "1",
                "errorMessage": "the mail server is away",
                "retryable": True,
            }
        },
        status=204,
        refused={404: "There is no such job."},
    ),
)


def schemas(settings: Settings) -> dict[str, Schema]:
    return {"PollJobs": _poll(settings), **_SCHEMAS}


def _poll(settings: Settings) -> Schema:
    seconds = f"{bounds.LEASE_S_MIN:g} to {bounds.LEASE_S_MAX:g}"
    return record(
        ("workerId", "jobTypes"),
        {
            "workerId": text("Who asks; the lease is in this name.", minLength=1, examples=["worker-1"]),
            "jobTypes": {
                "type": "array",
                "minItems": 1,
                "maxItems": bounds.JOB_TYPES_MAX,
                "items": text("A jobType of a step."),
                "description": "What the worker can do.",
                "examples": [["say-hello"]],
            },
            "maxJobs": or_null(
                integer(
                    f"At most this many; more than {bounds.JOBS_MAX} counts as {bounds.JOBS_MAX}, absent, null or "
                    f"below 1 as {bounds.REST_JOBS_DEFAULT}."
                )
            ),
            "leaseSeconds": {
                "type": ["number", "null"],
                "description": f"How long to hold them, {seconds} and clamped to that; absent, null or not above "
                f"zero: {settings.lease_s:g}.",
            },
            "waitMs": {
                "type": ["number", "null"],
                "description": "How long to wait for a job when there is none, in milliseconds, at most "
                f"{settings.long_poll_s_max * 1000:g}; absent, null or not above zero: not at all.",
            },
        },
    )


_SCHEMAS: Mapping[str, Schema] = {
    "Jobs": whole(
        {"jobs": {"type": "array", "items": ref("Job"), "description": "Each with a lease of its own."}}
    ),
    "Job": whole(
        {
            "id": ulid("A ULID; complete or fail it under this id."),
            "instanceId": ulid("Whose job it is."),
            "stepId": word("At which step."),
            "stepExecutionId": ulid("In which history item."),
            "jobType": word("What there is to do."),
            "status": word("Leased.", enum=["LOCKED"]),
            "workerId": word("Whose lease it is."),
            "lockedAt": time("Since when, by the database's clock."),
            "lockExpiresAt": time("Until when; then another worker may get it."),
            "retriesRemaining": integer("How often a retryable failure still puts it back.", minimum=0),
            "variables": {"type": "object", "description": "The instance's, as the step began."},
            "createdAt": time("When the step was entered."),
            "leaseToken": word(
                "New at each lease. Sent back, it fences the answer: an older one changes nothing.",
                examples=["1"],
            ),
        }
    ),
    "CompleteJob": record(
        (),
        {
            "workerId": or_null(text("As polled.")),
            "leaseToken": or_null(word("As polled; absent, the worker's name stands for the lease.")),
            "variables": variables("Merged into the instance's, key by key."),
        },
    ),
    "FailJob": record(
        (),
        {
            "workerId": or_null(text("As polled.")),
            "leaseToken": or_null(word("As polled.")),
            "errorMessage": or_null(word("The failureReason, when the instance fails of it.")),
            "retryable": {
                "type": ["boolean", "null"],
                "description": "Put the job back while retries remain; default false: the instance fails.",
            },
        },
    ),
}

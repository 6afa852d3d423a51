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
        description="Any replica can answer each call. A job whose lease expires goes to another worker.",
        body="PollJobs",
        body_examples={
            "greet": {"workerId": "worker-1", "jobTypes": ["say-hello"], "maxJobs": 10, "leaseSeconds": 30}
        },
        answer="Jobs",
        answer_description="The leased jobs; none if there is nothing to do.",
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
        description="A repeated completion, and one of a job that has already ended in another way, change nothing and "
        "are answered 204.",
        path_schemas={"id": _JOB_ID},
        body="CompleteJob",
        body_examples={
            "greeted": {"workerId": "worker-1", "leaseToken": "1", "variables": {"said": "Hello, Ada"}}
        },
        status=204,
        refused={
            404: "There is no such job.",
            409: "The lease is over: another worker holds the job, or the leaseToken is outdated. Drop the result.",
        },
    ),
    Operation(
        id="failJob",
        method="post",
        path="/v1/jobs/{id}/fail",
        tag="jobs",
        summary="Report that a job failed",
        description="A fail from a worker that no longer holds the lease changes nothing and is answered 204.",
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
            "workerId": text(
                "The worker that asks and will hold the leases.", minLength=1, examples=["worker-1"]
            ),
            "jobTypes": {
                "type": "array",
                "minItems": 1,
                "maxItems": bounds.JOB_TYPES_MAX,
                "items": text("A jobType of a step."),
                "description": "The job types that the worker can do.",
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
                "description": f"Length of the leases, {seconds} and clamped to that; absent, null or not above "
                f"zero: {settings.lease_s:g}.",
            },
            "waitMs": {
                "type": ["number", "null"],
                "description": "How long to wait for a job when there is none, in milliseconds, at most "
                f"{settings.long_poll_s_max * 1000:g}; absent, null or not above zero: not at all.",
            },
        },
    )


_JOB_ALWAYS = (
    "id", "instanceId", "stepId", "stepExecutionId", "jobType", "status", "workerId", "lockedAt", "lockExpiresAt",
    "retriesRemaining", "variables", "createdAt", "leaseToken",
)  # fmt: skip

_SCHEMAS: Mapping[str, Schema] = {
    "Jobs": whole(
        {"jobs": {"type": "array", "items": ref("Job"), "description": "Each with a lease of its own."}}
    ),
    "Job": record(
        _JOB_ALWAYS,
        {
            "id": ulid("A ULID; complete or fail it under this id."),
            "instanceId": ulid("The instance of the job."),
            "stepId": word("The step of the job."),
            "stepExecutionId": ulid("The item of the history."),
            "jobType": word("The job's type."),
            "status": word("Leased.", enum=["LOCKED"]),
            "workerId": word("The worker that holds the lease."),
            "lockedAt": time("When the lease began, by the database's clock."),
            "lockExpiresAt": time("When the lease ends; then another worker may get the job."),
            "retriesRemaining": integer(
                "How often it will still be put back after a retryable failure.", minimum=0
            ),
            "variables": {"type": "object", "description": "The instance's variables when the step began."},
            "createdAt": time("When the step was entered."),
            "leaseToken": word(
                "New for each lease. If it is sent back, an answer under an older lease changes nothing.",
                examples=["1"],
            ),
            "traceparent": word(
                "If the job belongs to a trace: W3C trace context, to be sent back as a header of complete or fail."
            ),
            "tracestate": word("The same, if there is one."),
        },
    ),
    "CompleteJob": record(
        (),
        {
            "workerId": or_null(text("As polled.")),
            "leaseToken": or_null(word("As polled. If it is absent, the worker's id stands for the lease.")),
            "variables": variables("Merged into the instance's variables, key by key."),
        },
    ),
    "FailJob": record(
        (),
        {
            "workerId": or_null(text("As polled.")),
            "leaseToken": or_null(word("As polled.")),
            "errorMessage": or_null(word("Becomes the failureReason if the instance fails.")),
            "retryable": {
                "type": ["boolean", "null"],
                "description": "Put the job back while retries remain; default false: the instance fails.",
            },
        },
    ),
}

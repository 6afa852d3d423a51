"""A job as the broker's consumers get it: `workflow.v1.JobDispatchEvent` (contract 2.3, 6.2)."""

from __future__ import annotations

from windlass.api.gen import workflow_pb2 as pb
from windlass.job_event import JobEvent

SCHEMA_VERSION = 1
CONTENT_TYPE = b"application/x-protobuf; proto=workflow.v1.JobDispatchEvent"


def encode(event: JobEvent) -> bytes:
    message = pb.JobDispatchEvent(
        schema_version=SCHEMA_VERSION,
        dedup_id=event.dedup_id,
        job_id=event.job_id,
        instance_id=event.instance_id,
        step_execution_id=event.execution_id,
        job_type=event.job_type,
        retries_remaining=event.retries_remaining,
        job_payload=event.payload,
    )
    message.created_at.FromDatetime(event.created_at)
    return message.SerializeToString()

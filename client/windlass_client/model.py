"""What the engine answers, typed. Times are aware, in UTC; variables are plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class InstanceStatus(StrEnum):
    ACTIVE = "ACTIVE"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class StepStatus(StrEnum):
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class StepType(StrEnum):
    SERVICE_TASK = "SERVICE_TASK"
    USER_TASK = "USER_TASK"
    DECISION = "DECISION"
    TRANSFORMATION = "TRANSFORMATION"
    WAIT = "WAIT"
    PARALLEL_GATEWAY = "PARALLEL_GATEWAY"
    JOIN_GATEWAY = "JOIN_GATEWAY"
    END = "END"


FINAL_INSTANCE_STATUSES = frozenset(
    {InstanceStatus.COMPLETED, InstanceStatus.FAILED, InstanceStatus.CANCELLED}
)


class Uploaded(msgspec.Struct, frozen=True, rename="camel"):
    """A stored definition: a new version, or the one that has this content already."""

    id: str
    version: int
    uploaded_at: datetime


class Instance(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    definition_id: str
    definition_version: int
    status: InstanceStatus
    current_step_ids: tuple[str, ...]
    variables: dict[str, Any]
    started_at: datetime
    completed_at: datetime | None = None
    failure_reason: str | None = None
    business_key: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is COMPLETED, FAILED or CANCELLED."""
        return self.status in FINAL_INSTANCE_STATUSES


class StepExecution(msgspec.Struct, frozen=True, rename="camel"):
    """One entry into a step; `attempt_number` counts an instance's entries into it from 1."""

    id: str
    instance_id: str
    step_id: str
    step_type: StepType
    attempt_number: int
    status: StepStatus
    started_at: datetime
    ended_at: datetime | None = None
    failure_reason: str | None = None


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """A leased job. `lease_token` goes back with its end and fences it: after another lease it changes nothing."""

    id: str
    instance_id: str
    step_id: str
    step_execution_id: str
    job_type: str
    retries_remaining: int
    variables: dict[str, Any]
    lock_expires_at: datetime
    lease_token: str
    worker_id: str
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers of W3C trace context that it came with, as OpenTelemetry's `extract` reads them; often none."""
        named = {"traceparent": self.traceparent, "tracestate": self.tracestate}
        return {name: value for name, value in named.items() if value}

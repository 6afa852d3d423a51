"""The state machines of contract 5.1 as tables: every edge with its cause. `store/sql` guards the same edges."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


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


class JobStatus(StrEnum):
    UNLOCKED = "UNLOCKED"
    LOCKED = "LOCKED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class UserTaskStatus(StrEnum):
    OPEN = "OPEN"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


INSTANCE_TRANSITIONS: Mapping[tuple[InstanceStatus, InstanceStatus], str] = {
    (InstanceStatus.ACTIVE, InstanceStatus.WAITING): "a USER_TASK or WAIT step is entered",
    (InstanceStatus.WAITING, InstanceStatus.ACTIVE): "the last parked USER_TASK or WAIT step is resumed",
    (InstanceStatus.ACTIVE, InstanceStatus.COMPLETED): "an END step is entered",
    (InstanceStatus.WAITING, InstanceStatus.COMPLETED): "an END step is entered",
    (InstanceStatus.ACTIVE, InstanceStatus.FAILED): "a step or job failed for good",
    (InstanceStatus.WAITING, InstanceStatus.FAILED): "a step or job failed for good",
    (InstanceStatus.ACTIVE, InstanceStatus.CANCELLED): "cancel call",
    (InstanceStatus.WAITING, InstanceStatus.CANCELLED): "cancel call",
}

STEP_TRANSITIONS: Mapping[tuple[StepStatus, StepStatus], str] = {
    (StepStatus.RUNNING, StepStatus.COMPLETED): "its work is done",
    (StepStatus.RUNNING, StepStatus.FAILED): "its work failed, was interrupted, or its instance ended",
}

JOB_TRANSITIONS: Mapping[tuple[JobStatus, JobStatus], str] = {
    (JobStatus.UNLOCKED, JobStatus.LOCKED): "poll",
    (JobStatus.LOCKED, JobStatus.UNLOCKED): "retryable fail, or the lease expired",
    (JobStatus.LOCKED, JobStatus.COMPLETED): "complete",
    (JobStatus.UNLOCKED, JobStatus.COMPLETED): "complete after the lease was swept: the first one wins",
    (JobStatus.LOCKED, JobStatus.FAILED): "terminal fail, or too many expired leases",
    (JobStatus.UNLOCKED, JobStatus.FAILED): "terminal fail",
    (JobStatus.LOCKED, JobStatus.CANCELLED): "interrupting timer, or the instance ended",
    (JobStatus.UNLOCKED, JobStatus.CANCELLED): "interrupting timer, or the instance ended",
}

USER_TASK_TRANSITIONS: Mapping[tuple[UserTaskStatus, UserTaskStatus], str] = {
    (UserTaskStatus.OPEN, UserTaskStatus.COMPLETED): "complete",
    (UserTaskStatus.OPEN, UserTaskStatus.CANCELLED): "interrupting timer, or the instance ended",
}

FINAL_INSTANCE_STATUSES = frozenset(
    {InstanceStatus.COMPLETED, InstanceStatus.FAILED, InstanceStatus.CANCELLED}
)

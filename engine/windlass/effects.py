"""What a decision changes: plain facts in the order of the decision. `store/rows.py` collects them into sets."""

from __future__ import annotations

from typing import NamedTuple

from windlass.definition.model import StepType
from windlass.instance import Variables
from windlass.states import JobStatus, StepStatus, UserTaskStatus


class StepEntered(NamedTuple):
    execution_id: str
    instance_id: str
    step_id: str
    step_type: StepType
    attempt: int
    input_snapshot: bytes


class StepClosed(NamedTuple):
    execution_id: str
    status: StepStatus
    output_snapshot: bytes | None = None
    failure_reason: str | None = None


class JobCreated(NamedTuple):
    job_id: str
    instance_id: str
    execution_id: str
    step_id: str
    job_type: str
    retries_remaining: int
    payload: bytes


class JobClosed(NamedTuple):
    job_id: str
    status: JobStatus
    worker_id: str | None = None


class JobRequeued(NamedTuple):
    """A retryable failure: UNLOCKED again, one retry less, at the tail of its queue (contract 11 row 29)."""

    job_id: str
    retries_remaining: int


class UserTaskCreated(NamedTuple):
    task_id: str
    instance_id: str
    execution_id: str
    step_id: str
    payload: bytes


class UserTaskClosed(NamedTuple):
    task_id: str
    status: UserTaskStatus
    result: bytes | None = None


class TimerScheduled(NamedTuple):
    timer_id: str
    instance_id: str
    execution_id: str
    target_step_id: str
    delay_s: float
    interrupting: bool


class TimerClosed(NamedTuple):
    """Fired, or no longer needed because its step ended."""

    timer_id: str


class ChainRequested(NamedTuple):
    """Start the newest version of another definition with these variables, in this transaction (contract 5.9)."""

    parent_instance_id: str
    definition_id: str
    variables: Variables


class Recorded(NamedTuple):
    """An audit row (contract 8.3); `detail` holds only JSON scalars."""

    kind: str
    actor: str
    instance_id: str
    detail: dict[str, str | int | None]


Effect = (
    StepEntered
    | StepClosed
    | JobCreated
    | JobClosed
    | JobRequeued
    | UserTaskCreated
    | UserTaskClosed
    | TimerScheduled
    | TimerClosed
    | ChainRequested
    | Recorded
)

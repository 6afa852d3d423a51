"""What a caller wants changed. A lane takes many of these at once; each gets its own answer.

`traceparent` is the caller's header: a batch serves many calls, and each log line belongs to one of them (contract
1.3). `trace` is what the work of the call carries on (`trace_context.py`). `caller` is None while authentication is
off. `sent_bytes` is the size of what the caller sent: variables, or a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from windlass.auth.principal import Principal
from windlass.instance import Variables


@dataclass(frozen=True, slots=True)
class StartInstance:
    definition_id: str
    version: int | None
    variables: Variables
    business_key: str | None
    traceparent: str | None = None
    sent_bytes: int = 0
    caller: Principal | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class CompleteJob:
    job_id: str
    worker_id: str
    lease_token: str | None
    variables: Variables
    traceparent: str | None = None
    sent_bytes: int = 0
    caller: Principal | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class FailJob:
    job_id: str
    worker_id: str
    lease_token: str | None
    error_message: str
    retryable: bool
    traceparent: str | None = None
    caller: Principal | None = None
    trace: str | None = None

    @property
    def sent_bytes(self) -> int:
        return len(self.error_message)


@dataclass(frozen=True, slots=True)
class ExhaustJob:
    """From the lease sweep: the job's lease expired too often, whoever held it."""

    caller: ClassVar[None] = None
    sent_bytes: ClassVar[int] = 0
    job_id: str
    reason: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class CompleteUserTask:
    instance_id: str
    step_id: str
    worker_id: str | None
    variables: Variables
    traceparent: str | None = None
    sent_bytes: int = 0
    caller: Principal | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class SignalWait:
    instance_id: str
    step_id: str
    variables: Variables
    traceparent: str | None = None
    sent_bytes: int = 0
    caller: Principal | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class FireTimer:
    caller: ClassVar[None] = None
    sent_bytes: ClassVar[int] = 0
    timer_id: str
    instance_id: str
    execution_id: str
    target_step_id: str
    interrupting: bool
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class CancelInstance:
    instance_id: str
    reason: str
    traceparent: str | None = None
    caller: Principal | None = None
    trace: str | None = None

    @property
    def sent_bytes(self) -> int:
        return len(self.reason)


Command = (
    StartInstance
    | CompleteJob
    | FailJob
    | ExhaustJob
    | CompleteUserTask
    | SignalWait
    | FireTimer
    | CancelInstance
)


def lane_key(command: Command) -> str:
    """The key that chooses the lane: the instance if it is known, so that its commands end up in one batch."""
    match command:
        case StartInstance():
            return command.business_key or ""
        case CompleteJob() | FailJob() | ExhaustJob():
            return command.job_id
        case CompleteUserTask() | SignalWait() | FireTimer() | CancelInstance():
            return command.instance_id

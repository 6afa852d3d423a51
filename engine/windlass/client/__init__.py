"""The engine's client: `Client` speaks to it over REST or gRPC, `Worker` does its jobs. See docs/client.md."""

from windlass.client.client import Client
from windlass.client.errors import (
    BadRequest,
    Conflict,
    EngineFault,
    NonRetryableError,
    NotFound,
    Overdue,
    PollDisabled,
    Refused,
    TooLarge,
    Unanswered,
    Unavailable,
    Unreachable,
    WindlassError,
)
from windlass.client.model import Instance, Job, StepExecution, Uploaded
from windlass.client.worker import Handler, Worker
from windlass.states import InstanceStatus, StepStatus

__all__ = [
    "BadRequest",
    "Client",
    "Conflict",
    "EngineFault",
    "Handler",
    "Instance",
    "InstanceStatus",
    "Job",
    "NonRetryableError",
    "NotFound",
    "Overdue",
    "PollDisabled",
    "Refused",
    "StepExecution",
    "StepStatus",
    "TooLarge",
    "Unanswered",
    "Unavailable",
    "Unreachable",
    "Uploaded",
    "WindlassError",
    "Worker",
]

"""The engine's client: `Client` calls it over REST or gRPC, `Worker` does its jobs. See docs/client.md."""

from windlass_client.client import Client
from windlass_client.errors import (
    BadRequest,
    Conflict,
    EngineFault,
    NonRetryableError,
    NotFound,
    Overdue,
    Overloaded,
    PollDisabled,
    Refused,
    TooLarge,
    Unanswered,
    Unavailable,
    Unreachable,
    WindlassError,
)
from windlass_client.model import (
    Instance,
    InstanceStatus,
    Job,
    StepExecution,
    StepStatus,
    StepType,
    Uploaded,
)
from windlass_client.worker import Handler, Worker

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
    "Overloaded",
    "PollDisabled",
    "Refused",
    "StepExecution",
    "StepStatus",
    "StepType",
    "TooLarge",
    "Unanswered",
    "Unavailable",
    "Unreachable",
    "Uploaded",
    "WindlassError",
    "Worker",
]

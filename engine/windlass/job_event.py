"""A job in the outbox: the event that is written, and the row that the relay reads (contract 6.2)."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

Line = tuple[str, str]
"""Instance id and job type: rows of one line keep their order (contract 6.6)."""


class JobEvent(NamedTuple):
    """What a worker is told of one job; `payload` is the JSON text of its variables."""

    dedup_id: str
    job_id: str
    instance_id: str
    execution_id: str
    job_type: str
    retries_remaining: int
    payload: bytes
    created_at: datetime


class OutboxRow(NamedTuple):
    """A row of `dispatch_outbox` as the relay reads it."""

    id: str
    job_id: str
    instance_id: str
    job_type: str
    payload: bytes
    is_due: bool
    """False: the job is done, or a poller holds it."""
    trace: str | None = None
    """What the worker carries on (`trace_context.py`)."""
    is_first: bool | None = None
    """Whether the job has not been handed out before; looked for only if there is a trace."""

    @property
    def line(self) -> Line:
        return self.instance_id, self.job_type

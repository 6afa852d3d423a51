"""Who may complete or fail a job: the tables of contract 1.6, decided on a row that is locked (contract 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from windlass.states import JobStatus
from windlass.store.driver import Row


@dataclass(slots=True)
class JobRow:
    id: str
    instance_id: str
    execution_id: str
    status: JobStatus
    worker_id: str | None
    lease_token: int | None
    retries_remaining: int
    lease_is_live: bool


class Lease(Enum):
    """What a worker's call may do to a job."""

    HELD = auto()
    OVER = auto()
    """The job is closed: the call is a repeat and changes nothing."""
    LOST = auto()
    """Another worker holds the job, or the token is that of an earlier lease."""


def judge_completion(job: JobRow, worker_id: str, lease_token: str | None) -> Lease:
    """Contract 1.6: the holder, or the first caller while nobody holds it; never with the token of an earlier lease."""
    if job.status not in {JobStatus.LOCKED, JobStatus.UNLOCKED}:
        return Lease.OVER
    if lease_token is not None and lease_token != str(job.lease_token):
        return Lease.LOST
    if job.status is JobStatus.LOCKED and job.worker_id != worker_id and job.lease_is_live:
        return Lease.LOST
    return Lease.HELD


def judge_failure(job: JobRow, worker_id: str, lease_token: str | None, *, leased_by_poll: bool) -> Lease:
    """Contract 1.6, 10.3: only the holder may fail a job; in polling mode, nobody holds it once its lease is swept."""
    verdict = judge_completion(job, worker_id, lease_token)
    is_holder = job.status is JobStatus.LOCKED and job.worker_id == worker_id
    if verdict is Lease.HELD and leased_by_poll and not is_holder:
        return Lease.LOST
    return verdict


def job_row(row: Row) -> JobRow:
    return JobRow(
        row["id"],
        row["instance_id"],
        row["step_execution_id"],
        JobStatus(row["status"]),
        row["worker_id"],
        row["lease_token"],
        row["retries_remaining"],
        bool(row["lease_is_live"]),
    )


def lease_lost(job: JobRow, worker_id: str) -> str:
    """The error for a worker whose answer comes too late."""
    holder = f"leased to worker {job.worker_id!r}" if job.worker_id else "waiting to be leased again"
    return f"job {job.id} is {holder}; the lease of worker {worker_id!r} is over, nothing was changed: drop the result"

"""Jobs as polls and the lease sweep use them: claim jobs, give leases back, free expired ones (contract 1.6, 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from windlass.states import JobStatus
from windlass.store.arrays import json_array
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.outbox import Outbox
from windlass.store.queries import sql
from windlass.trace_context import parent_and_state
from windlass.wire import JobView, RawJson, format_time


class ClaimedJob(NamedTuple):
    slot: int
    """Number of the poll it was claimed for, from 1."""
    age_s: float
    """Between the job's creation and this lease."""
    view: JobView


class Claim(NamedTuple):
    jobs: Sequence[ClaimedJob]
    """Oldest first."""
    is_cut: bool
    """Whether jobs were left because these are as much as one answer may hold."""


class PassedOver(NamedTuple):
    """A waiting job that is too large for polls of one door."""

    job_id: str
    instance_id: str
    job_type: str
    size_bytes: int


class LapsedLeases(NamedTuple):
    """What one search for expired leases found."""

    freed_job_types: Sequence[str]
    """One for each job that may be claimed again."""
    exhausted_job_ids: Sequence[str]
    """Jobs whose leases expired too often: still leased; the caller has to fail them."""

    @property
    def looked_at(self) -> int:
        return len(self.freed_job_types) + len(self.exhausted_job_ids)


class Jobs:
    """Every method raises EngineError, Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        job_types: Sequence[str],
        slots: Sequence[int],
        worker_ids: Sequence[str],
        leases_s: Sequence[float],
        *,
        bytes_max: int,
        job_bytes_max: int | None = None,
    ) -> Claim:
        """Leases the oldest claimable jobs of these types, at most one for each slot.

        A slot is a place, counted from 1, in `worker_ids` and `leases_s`; the first slots get the oldest jobs. The jobs
        have `bytes_max` together, as `answer_bytes` counts them, or there is one only; those above `job_bytes_max` are
        passed over.
        """
        rows = await self._database.fetch(
            sql("job_claim"),
            list(job_types),
            json_array(slots),
            worker_ids,
            leases_s,
            bytes_max,
            job_bytes_max,
        )
        rows.sort(key=lambda row: (row["created_at"], row["id"]))
        return Claim([_claimed(row) for row in rows], bool(rows) and len(rows) < rows[0]["found"])

    async def passed_over(self, job_types: Sequence[str], job_bytes_max: int) -> PassedOver | None:
        """One waiting job of these types that is above `job_bytes_max`."""
        rows = await self._database.fetch(sql("job_passed_over"), list(job_types), job_bytes_max)
        return PassedOver(*rows[0]) if rows else None

    async def release(self, leases: Sequence[tuple[str, str]]) -> set[str]:
        """Gives back leases, each by job id and token, that are still in force; returns the types of the jobs that are
        free now.
        """
        rows = await self._database.fetch(
            sql("job_release"), [job_id for job_id, _ in leases], [int(token) for _, token in leases]
        )
        return {row["job_type"] for row in rows}

    async def expire_leases(
        self, rows_max: int, expiries_max: int, *, audit_enabled: bool, outbox: Outbox | None
    ) -> LapsedLeases:
        """Frees jobs whose lease lapsed on the database's clock, at most `rows_max`; rows in use are skipped.

        With an outbox, the events of the freed jobs are written in the same transaction.
        """
        arguments = (rows_max, expiries_max, audit_enabled)
        if outbox is None:
            return _lapsed(await self._database.fetch(sql("job_expire_leases"), *arguments))
        async with self._database.transaction() as connection:
            rows = await connection.fetch(sql("job_expire_leases"), *arguments)
            await outbox.append_again(connection, [row["id"] for row in rows if not row["exhausted"]])
        return _lapsed(rows)


def _lapsed(rows: Sequence[Row]) -> LapsedLeases:
    return LapsedLeases(
        [row["job_type"] for row in rows if not row["exhausted"]],
        [row["id"] for row in rows if row["exhausted"]],
    )


def _claimed(row: Row) -> ClaimedJob:
    created_at, locked_at = row["created_at"], row["locked_at"]
    traceparent, tracestate = parent_and_state(row["trace_context"])
    view = JobView(
        id=row["id"],
        instance_id=row["instance_id"],
        step_id=row["step_id"] or "",
        step_execution_id=row["step_execution_id"],
        job_type=row["job_type"],
        status=JobStatus.LOCKED,
        worker_id=row["worker_id"],
        locked_at=format_time(locked_at),
        lock_expires_at=format_time(row["lock_expires_at"]),
        retries_remaining=row["retries_remaining"],
        variables=RawJson(row["payload"].encode()),
        created_at=format_time(created_at),
        lease_token=str(row["lease_token"]),
        traceparent=traceparent,
        tracestate=tracestate,
    )
    return ClaimedJob(row["slot"], max(0.0, (locked_at - created_at).total_seconds()), view)

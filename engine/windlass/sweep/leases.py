"""Frees jobs whose lease expired (contract 5.5). Any number of nodes may sweep: rows in use are skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from windlass.commands import ExhaustJob
from windlass.errors import NotFound
from windlass.store.jobs import Jobs
from windlass.store.outbox import Outbox
from windlass.trace_context import TRACE

BATCH_ROWS_MAX = 500


class LeaseSweep:
    def __init__(
        self,
        jobs: Jobs,
        execute: Callable[[ExhaustJob], Awaitable[object]],
        *,
        expiries_max: int,
        audit_enabled: bool,
        reclaimed: Callable[[int, Iterable[str]], None],
        outbox: Outbox | None = None,
    ) -> None:
        """With an outbox, a freed job is dispatched through it, in the same transaction."""
        self._jobs = jobs
        self._execute = execute
        self._expiries_max = expiries_max
        self._audit_enabled = audit_enabled
        self._reclaimed = reclaimed
        self._outbox = outbox

    async def sweep(self) -> int:
        """Repeats until none is due, and returns how many were. A job whose leases expired too often fails: a poison
        job ends (contract 5.5).
        """
        freed: list[str] = []
        exhausted = 0
        while True:
            lapsed = await self._jobs.expire_leases(
                BATCH_ROWS_MAX, self._expiries_max, audit_enabled=self._audit_enabled, outbox=self._outbox
            )
            freed += lapsed.freed_job_types
            exhausted += len(lapsed.exhausted_job_ids)
            for job_id in lapsed.exhausted_job_ids:
                await self._exhaust(job_id)
            if lapsed.looked_at < BATCH_ROWS_MAX:
                break
        if freed:
            self._reclaimed(len(freed), set(freed))
        return len(freed) + exhausted

    async def _exhaust(self, job_id: str) -> None:
        try:
            await self._execute(
                ExhaustJob(
                    job_id,
                    f"the lease of job {job_id} expired {self._expiries_max} times and no worker ever answered: "
                    "the job kills or hangs its workers (WINDLASS_LEASE_EXPIRIES_MAX)",
                    TRACE.get(),
                )
            )
        except NotFound:
            return

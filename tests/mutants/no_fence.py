"""Whoever answers a job decides it: the lease is judged neither in Python nor in the statement that writes."""

from __future__ import annotations

from mutation import replace_sql, serve

from windlass.states import JobStatus
from windlass.store import apply
from windlass.store.apply import JobRow, Lease

_COMPARISON = "AND (u.lease_token IS NULL OR j.lease_token = u.lease_token)"


def judge(job: JobRow, *_caller: object, **_setting: object) -> Lease:
    return Lease.HELD if job.status in {JobStatus.LOCKED, JobStatus.UNLOCKED} else Lease.OVER


apply.judge_completion = apply.judge_failure = judge
replace_sql("apply_rows", _COMPARISON, "")
replace_sql("apply_tasks_and_timers", _COMPARISON, "")

if __name__ == "__main__":
    serve()

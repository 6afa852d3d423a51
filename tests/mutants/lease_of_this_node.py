"""A node knows only the leases that it has given itself, as if they were in its memory: callers have to be sticky."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.engine import Engine
from windlass.states import JobStatus
from windlass.store import apply
from windlass.store.apply import JobRow, Lease

genuine_poll = Engine.poll_jobs
genuine_judge = apply.judge_completion
given: set[str] = set()


async def poll_jobs(self: Engine, *args: Any, **options: Any) -> Any:
    found = await genuine_poll(self, *args, **options)
    given.update(job.id for job in found)
    return found


def judge(job: JobRow, *caller: Any) -> Lease:
    if job.status is JobStatus.LOCKED and job.id not in given:
        return Lease.LOST
    return genuine_judge(job, *caller)


Engine.poll_jobs = poll_jobs
apply.judge_completion = judge

if __name__ == "__main__":
    serve()

"""A node takes the answer only of jobs that it has handed out itself: it keeps leases in its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mutation import serve

from windlass.engine import Engine
from windlass.errors import Conflict
from windlass.wire import JobView

handed_out: set[str] = set()

genuine_poll = Engine.poll_jobs
genuine_complete = Engine.complete_job


async def poll_jobs(self: Engine, **wanted: Any) -> Sequence[JobView]:
    jobs = await genuine_poll(self, **wanted)
    handed_out.update(job.id for job in jobs)
    return jobs


async def complete_job(self: Engine, job_id: str, **answer: Any) -> None:
    if job_id not in handed_out:
        raise Conflict(f"job {job_id} is not leased here")
    await genuine_complete(self, job_id, **answer)


Engine.poll_jobs = poll_jobs  # type: ignore[method-assign]
Engine.complete_job = complete_job  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()

"""Which writes of a decision the caller's lease guards: found by drill X1, where an END closed a job beside it."""

from __future__ import annotations

from windlass.effects import JobClosed
from windlass.states import JobStatus
from windlass.store.rows import WriteSet


def test_the_token_guards_the_held_job_and_not_those_closed_beside_it() -> None:
    writes = WriteSet(audit_enabled=False)
    held = JobClosed("held", JobStatus.COMPLETED, "worker-1")
    beside = JobClosed("beside", JobStatus.CANCELLED)
    writes.add([held, beside], "held", 7)
    assert writes.closed_jobs == {"held": (held, 7), "beside": (beside, None)}

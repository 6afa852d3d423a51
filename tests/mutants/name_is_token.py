"""The holder is known by its name alone: the lease token of a call is ignored."""

from __future__ import annotations

from mutation import serve

from windlass.store import apply
from windlass.store.apply import JobRow, Lease

genuine_completion = apply.judge_completion


def judge_completion(job: JobRow, worker_id: str, _lease_token: str | None) -> Lease:
    return genuine_completion(job, worker_id, None)


apply.judge_completion = judge_completion

if __name__ == "__main__":
    serve()

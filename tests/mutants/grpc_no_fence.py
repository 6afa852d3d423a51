"""The lease is judged for completions that come over REST alone: through the gRPC door whoever answers decides."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.api.rpcs import Rpcs
from windlass.states import JobStatus
from windlass.store import apply
from windlass.store.apply import JobRow, Lease

#: marks the completions of that door; no engine gives such a token
UNFENCED = "unfenced"

genuine_complete = Rpcs._complete
genuine_judge = apply.judge_completion


async def complete(self: Rpcs, request: Any) -> Any:
    request.lease_token = UNFENCED
    return await genuine_complete(self, request)


def judge_completion(job: JobRow, worker_id: str, lease_token: str | None) -> Lease:
    if lease_token != UNFENCED:
        return genuine_judge(job, worker_id, lease_token)
    return Lease.HELD if job.status in {JobStatus.LOCKED, JobStatus.UNLOCKED} else Lease.OVER


Rpcs._complete = complete
apply.judge_completion = judge_completion

if __name__ == "__main__":
    serve()

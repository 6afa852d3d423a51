"""A lease's end is judged by the replica's clock, and replica-0's is fast by more than a lease (contract 11 row 25)."""

from __future__ import annotations

import os
import time

from mutation import serve

from windlass.store import jobs, queries

SKEW_S = 60.0 if os.environ.get("WINDLASS_NODE_NAME", "").endswith("-0") else 0.0
_DATABASE_CLOCK = "lock_expires_at < clock_timestamp()"


def sql(name: str) -> str:
    text = queries.sql(name)
    if name != "job_expire_leases":
        return text
    if _DATABASE_CLOCK not in text:
        raise SystemExit(f"mutant: the statement {name} no longer holds {_DATABASE_CLOCK!r}; mend the mutant")
    return text.replace(_DATABASE_CLOCK, f"lock_expires_at < to_timestamp({time.time() + SKEW_S})")


jobs.sql = sql

if __name__ == "__main__":
    serve()

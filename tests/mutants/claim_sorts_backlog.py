"""Claims in an order that no index has: each poll sorts the whole backlog (contract 11 row 26)."""

from __future__ import annotations

import mutation

mutation.replace_sql(
    "job_claim",
    "ORDER BY coalesce(j.requeued_at, j.created_at), j.id",
    "ORDER BY coalesce(j.requeued_at, j.created_at) + interval '0 seconds', j.id",
)

if __name__ == "__main__":
    mutation.serve()

"""Retention judges instances by their start alone: those that still run go too."""

from __future__ import annotations

import mutation

mutation.replace_sql(
    "retention_page",
    "i.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND i.completed_at < $1 AS is_due",
    "coalesce(i.completed_at, i.started_at) < $1 AS is_due",
)
mutation.replace_sql(
    "retention_lock",
    "i.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND i.completed_at < $2",
    "coalesce(i.completed_at, i.started_at) < $2",
)

if __name__ == "__main__":
    mutation.serve()

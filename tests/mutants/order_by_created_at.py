"""Publishes in the order in which transactions began, not in which they had the instance (contract 11 row 17)."""

from __future__ import annotations

import mutation

mutation.replace_sql("outbox_append", "u.payload, clock_timestamp()", "u.payload, now()")
mutation.replace_sql("outbox_head", "SELECT o.id, o.position", "SELECT o.id, o.created_at AS position")
mutation.replace_sql("outbox_head", "ORDER BY o.position", "ORDER BY o.created_at")

if __name__ == "__main__":
    mutation.serve()

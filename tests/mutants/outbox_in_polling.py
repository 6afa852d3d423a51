"""Writes an outbox row for every job although the mode is polling."""

from __future__ import annotations

import mutation

mutation.replace_sql(
    "apply_rows",
    "), closed_job AS (",
    """), new_outbox AS (
    INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload)
    SELECT u.id, u.id, u.instance_id, u.job_type, ''::bytea
    FROM unnest($29::text[], $30::text[], $33::text[]) AS u (id, instance_id, job_type)
), closed_job AS (""",
)

if __name__ == "__main__":
    mutation.serve()

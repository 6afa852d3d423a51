"""Instances go and their audit rows stay, until these are old enough by themselves."""

from __future__ import annotations

import mutation

mutation.replace_sql(
    "retention_remove",
    "DELETE FROM audit_log AS a WHERE a.instance_id = ANY ($1::text::text[])",
    "DELETE FROM audit_log AS a WHERE a.instance_id = ANY ($1::text::text[]) AND a.kind = 'none'",
)

if __name__ == "__main__":
    mutation.serve()

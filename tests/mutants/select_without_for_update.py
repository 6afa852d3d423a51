"""A batch reads without locks and writes without naming the state it leaves (contract 11 row 1)."""

from __future__ import annotations

from mutation import replace_sql, serve

replace_sql("instance_read_for_commands", "ORDER BY i.id\n    FOR UPDATE", "ORDER BY i.id")
replace_sql("instance_read_for_commands", "FOR UPDATE OF j", "")
replace_sql("apply_rows", "AND (i.status IN ('ACTIVE', 'WAITING')) IS TRUE", "")
replace_sql("apply_rows", "AND s.status = 'RUNNING'", "")
replace_sql("apply_rows", "AND j.status IN ('UNLOCKED', 'LOCKED')", "")

if __name__ == "__main__":
    serve()

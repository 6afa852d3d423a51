"""A claim picks jobs without locking them, so that two nodes lease the same ones."""

from __future__ import annotations

from mutation import replace_sql, serve

replace_sql("job_claim", "FOR UPDATE SKIP LOCKED", "")
replace_sql("job_claim", "AND j.status = c.status", "")

if __name__ == "__main__":
    serve()

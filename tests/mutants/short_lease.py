"""A lease ends after a tenth of the time that its holder was told."""

from __future__ import annotations

from mutation import replace_sql, serve

_SLOT = "($4::float8[])[($2::integer[])[c.place]] * interval"

replace_sql("job_claim", f"t.now + {_SLOT} '1 second'", f"t.now + {_SLOT} '0.1 second'")
replace_sql("job_claim", "j.lock_expires_at,", f"j.locked_at + {_SLOT} '1 second' AS lock_expires_at,")
replace_sql(
    "apply_rows", "t.now + u.lease_s * interval '1 second'", "t.now + u.lease_s * interval '0.1 second'"
)

if __name__ == "__main__":
    serve()

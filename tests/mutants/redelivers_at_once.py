"""A dispatched job is overdue from the start, so it is sent again and again while its worker is at it."""

from __future__ import annotations

import mutation

mutation.replace_sql("outbox_settle", "led.now + $4::float8 * interval '1 second'", "led.now")

if __name__ == "__main__":
    mutation.serve()

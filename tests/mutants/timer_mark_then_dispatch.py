"""Commits `fired` before the timer's effect: a crash between the two loses it (contract 11 row 8)."""

from __future__ import annotations

import mutation

from windlass.commands import FireTimer
from windlass.sweep.timers import BATCH_ROWS_MAX, TimerSweep

DUE_AND_MARKED = """UPDATE boundary_event_schedule SET fired = true
WHERE id IN (SELECT id FROM boundary_event_schedule WHERE NOT fired AND fire_at <= clock_timestamp() LIMIT $1)
RETURNING id, instance_id, step_execution_id, target_step_id, interrupting"""


async def mark_then_dispatch(self: TimerSweep) -> int:
    rows = await self._timers._database.fetch(DUE_AND_MARKED, BATCH_ROWS_MAX)
    for row in rows:
        timer = FireTimer(*row.values())
        await self._execute(timer)
        self._fired(timer)
    return len(rows)


TimerSweep.sweep = mark_then_dispatch  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

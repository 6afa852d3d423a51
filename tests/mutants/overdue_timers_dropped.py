"""A node that starts takes timers that are overdue for those of a former life, and drops them."""

from __future__ import annotations

from mutation import serve

from windlass.sweep.timers import TimerSweep

DROP = """UPDATE boundary_event_schedule SET fired = true
WHERE NOT fired AND fire_at < clock_timestamp() - interval '1 s'"""

genuine = TimerSweep.sweep
to_drop = [DROP]


async def sweep(self: TimerSweep) -> int:
    while to_drop:
        await self._timers._database.fetch(to_drop.pop())
    return await genuine(self)


TimerSweep.sweep = sweep  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()

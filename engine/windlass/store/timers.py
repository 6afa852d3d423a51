"""Boundary timers that are due."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.commands import FireTimer
from windlass.store.database import Database
from windlass.store.queries import sql
from windlass.trace_context import TRACE


class Timers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, rows_max: int) -> Sequence[FireTimer]:
        """Timers that are due by the database's clock, oldest first; whether one still fires is decided in a lane.

        Raises EngineError, Unavailable when the database is away.
        """
        return [
            FireTimer(
                row["id"],
                row["instance_id"],
                row["step_execution_id"],
                row["target_step_id"],
                row["interrupting"],
                TRACE.get(),
            )
            for row in await self._database.fetch(sql("timer_due"), rows_max)
        ]

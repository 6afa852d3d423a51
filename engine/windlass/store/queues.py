"""How many jobs of a type wait, as autoscalers ask. Reads only."""

from __future__ import annotations

import asyncio

from windlass.store.database import Database
from windlass.store.queries import sql

QUEUE_LENGTH_MAX = 10_000
"""The count stops here: a longer queue already calls for as many pods as are allowed."""


class Queues:
    def __init__(self, database: Database) -> None:
        self._database = database
        # Callers share one connection of the pool, however many there are.
        self._turn = asyncio.Lock()

    async def length(self, job_type: str) -> int:
        """Count the jobs of this type that no worker holds, `QUEUE_LENGTH_MAX` at most; 0 for an unknown type.

        Raises Unavailable when the database is away, BadRequest for a type it cannot hold.
        """
        async with self._turn:
            rows = await self._database.fetch(sql("job_queue_length"), job_type, QUEUE_LENGTH_MAX)
        length: int = rows[0]["waiting"]
        return length

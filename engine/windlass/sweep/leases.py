"""Frees jobs whose worker went silent (contract 5.5). Any number of nodes may sweep: rows in use are skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from windlass.commands import ExhaustJob
from windlass.errors import EngineError, NotFound
from windlass.store.database import Database, Row, translate
from windlass.store.outbox import Outbox
from windlass.store.queries import sql

BATCH_ROWS_MAX = 500


class LeaseSweep:
    def __init__(
        self,
        database: Database,
        execute: Callable[[ExhaustJob], Awaitable[object]],
        *,
        expiries_max: int,
        audit_enabled: bool,
        reclaimed: Callable[[int, Iterable[str]], None],
        outbox: Outbox | None = None,
    ) -> None:
        """With an outbox, a freed job is dispatched through it, in the same transaction."""
        self._database = database
        self._execute = execute
        self._expiries_max = expiries_max
        self._audit_enabled = audit_enabled
        self._reclaimed = reclaimed
        self._outbox = outbox

    async def sweep(self) -> None:
        """Until none is due. A job whose lease lapsed too often fails, so that a poison job ends (contract 5.5)."""
        freed: list[str] = []
        while True:
            rows = await self._expire()
            freed += [row["job_type"] for row in rows if not row["exhausted"]]
            for job_id in [row["id"] for row in rows if row["exhausted"]]:
                await self._exhaust(job_id)
            if len(rows) < BATCH_ROWS_MAX:
                break
        if freed:
            self._reclaimed(len(freed), set(freed))

    async def _expire(self) -> list[Row]:
        arguments = (BATCH_ROWS_MAX, self._expiries_max, self._audit_enabled)
        if self._outbox is None:
            return await self._database.fetch(sql("job_expire_leases"), *arguments)
        try:
            async with self._database.connection() as connection, connection.transaction():
                rows: list[Row] = await connection.fetch(sql("job_expire_leases"), *arguments)
                await self._outbox.append_again(
                    connection, [row["id"] for row in rows if not row["exhausted"]]
                )
                return rows
        except EngineError:
            raise
        except Exception as err:
            raise translate(err) from err

    async def _exhaust(self, job_id: str) -> None:
        try:
            await self._execute(
                ExhaustJob(
                    job_id,
                    f"the lease of job {job_id} expired {self._expiries_max} times and no worker ever answered: "
                    "the job kills or hangs its workers (WINDLASS_LEASE_EXPIRIES_MAX)",
                )
            )
        except NotFound:
            return

"""Events of jobs in `dispatch_outbox`, written in the transaction that makes or re-queues the job (contract 6.2).

How an event is encoded is up to the caller (`encode`); here it is bytes. The relay uses `head` to read what it
publishes, and `settle` to remove it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from windlass.job_event import JobEvent, OutboxRow
from windlass.states import JobStatus
from windlass.store.arrays import json_array, text_array
from windlass.store.database import Database
from windlass.store.driver import Connection, Row
from windlass.store.queries import sql
from windlass.store.rows import WriteSet

EVENTS_MAX = 500
"""Events that one transaction of a sweep writes."""


class RemovedRows(NamedTuple):
    """How many rows `settle` removed."""

    published: int
    dropped: int


class Page(NamedTuple):
    """A position in the list of all waiting jobs; the empty one is before the first."""

    job_type: str = ""
    queued_at: datetime | None = None
    job_id: str = ""


class Outbox:
    """`append` and `append_again` run in the caller's transaction, the others in one of their own."""

    def __init__(
        self, database: Database, new_id: Callable[[], str], encode: Callable[[JobEvent], bytes]
    ) -> None:
        self._database = database
        self._new_id = new_id
        self._encode = encode

    async def append(self, connection: Connection, writes: WriteSet, now: datetime) -> None:
        """The events of one batch: of its new jobs that wait for a worker, then of those put back."""
        events = [
            JobEvent(
                self._new_id(),
                job.created.job_id,
                job.created.instance_id,
                job.created.execution_id,
                job.created.job_type,
                job.created.retries_remaining,
                job.created.payload,
                now,
            )
            for job in writes.new_jobs.values()
            if job.status is JobStatus.UNLOCKED
        ]
        await self._insert(connection, events)
        if writes.requeued_jobs:
            await self.append_again(connection, list(writes.requeued_jobs))

    async def append_again(self, connection: Connection, job_ids: Sequence[str]) -> None:
        """New events, with new dedup ids, of jobs that the caller has locked and put back."""
        if job_ids:
            rows = await connection.fetch(sql("outbox_take_back"), text_array(job_ids))
            await self._insert(connection, [self._event(row) for row in rows])

    async def redeliver(self, postpone_s: float) -> tuple[int, int]:
        """Events of dispatched jobs that nobody completed in time; how many were looked at and written."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(sql("outbox_overdue"), EVENTS_MAX, postpone_s)
            events = [self._event(row) for row in rows if row["id"] is not None]
            await self._insert(connection, events)
        return rows[0]["looked_at"], len(events)

    async def adopt(self, after: Page, waiting_s: float) -> tuple[Page | None, int]:
        """Writes events for those waiting jobs, in one page of them, that have none and never had one.

        Returns where to continue, None at the end, and how many were written.
        """
        start = after.queued_at or datetime.fromtimestamp(0).astimezone()
        async with self._database.transaction() as connection:
            page = await connection.fetchrow(
                sql("outbox_strays"), after.job_type, start, after.job_id, EVENTS_MAX, waiting_s
            )
            if page is None:
                return None, 0
            events: list[JobEvent] = []
            if page["strays"]:
                rows = await connection.fetch(sql("outbox_adopt"), text_array(page["strays"]))
                events = [self._event(row) for row in rows]
                await self._insert(connection, events)
        return Page(page["job_type"], page["queued_at"], page["id"]), len(events)

    async def head(
        self, rows_max: int, *, without_job_types: Iterable[str], without_ids: Sequence[str]
    ) -> list[OutboxRow]:
        """The oldest rows that are not left out, in the order in which they are to be published."""
        rows = await self._database.fetch(
            sql("outbox_head"), rows_max, text_array(without_job_types), json_array(without_ids)
        )
        return [OutboxRow(*row) for row in rows]

    async def settle(
        self,
        epoch: int,
        acknowledged_ids: Sequence[str],
        stale_ids: Sequence[str],
        *,
        redelivery_s: float,
        audit_enabled: bool,
    ) -> RemovedRows | None:
        """Removes rows that the broker has stored, and rows whose jobs no longer need a worker.

        A published job is due for redelivery after `redelivery_s`. None, and nothing is removed, when the leader of
        `epoch` has been deposed.
        """
        (settled,) = await self._database.fetch(
            sql("outbox_settle"),
            epoch,
            json_array(acknowledged_ids),
            json_array(stale_ids),
            redelivery_s,
            audit_enabled,
        )
        return RemovedRows(settled["published"], settled["dropped"]) if settled["leads"] else None

    async def is_installed(self) -> bool:
        """Whether the tables exist that the outbox and its relay need."""
        (tables,) = await self._database.fetch(sql("outbox_has_table"))
        return bool(tables["outbox"] and tables["leader"])

    async def backlog(self) -> int:
        return int((await self._database.fetch(sql("outbox_backlog")))[0][0])

    def _event(self, row: Row) -> JobEvent:
        return JobEvent(
            self._new_id(),
            row["id"],
            row["instance_id"],
            row["step_execution_id"],
            row["job_type"],
            row["retries_remaining"],
            row["payload"].encode(),
            row["created_at"],
        )

    async def _insert(self, connection: Connection, events: Sequence[JobEvent]) -> None:
        if events:
            await connection.execute(
                sql("outbox_append"),
                json_array([event.dedup_id for event in events]),
                json_array([event.job_id for event in events]),
                json_array([event.instance_id for event in events]),
                text_array([event.job_type for event in events]),
                json_array(["\\x" + self._encode(event).hex() for event in events]),
            )

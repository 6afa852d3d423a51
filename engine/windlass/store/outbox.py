"""Events of jobs in `dispatch_outbox`, written in the transaction that makes or re-queues the job (contract 6.2).

What an event looks like on the wire is the caller's business (`encode`); here it is bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from windlass.errors import EngineError
from windlass.states import JobStatus
from windlass.store.database import Connection, Database, Row, translate
from windlass.store.queries import sql
from windlass.store.rows import WriteSet, json_array, text_array

EVENTS_MAX = 500
"""Events that one transaction of a sweep writes."""


class JobEvent(NamedTuple):
    """What a worker is told of one job; `payload` is the JSON text of its variables."""

    dedup_id: str
    job_id: str
    instance_id: str
    execution_id: str
    job_type: str
    retries_remaining: int
    payload: bytes
    created_at: datetime


class Page(NamedTuple):
    """Where a look through all waiting jobs has got to; the blank one is before the first."""

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
        try:
            async with self._database.connection() as connection, connection.transaction():
                rows = await connection.fetch(sql("outbox_overdue"), EVENTS_MAX, postpone_s)
                events = [self._event(row) for row in rows if row["id"] is not None]
                await self._insert(connection, events)
        except EngineError:
            raise
        except Exception as err:
            raise translate(err) from err
        return rows[0]["looked_at"], len(events)

    async def adopt(self, after: Page, waiting_s: float) -> tuple[Page | None, int]:
        """Events of waiting jobs that have none and never had one, in one page of all waiting jobs.

        Returns where to go on, None at the end, and how many were written.
        """
        start = after.queued_at or datetime.fromtimestamp(0).astimezone()
        try:
            async with self._database.connection() as connection, connection.transaction():
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
        except EngineError:
            raise
        except Exception as err:
            raise translate(err) from err
        return Page(page["job_type"], page["queued_at"], page["id"]), len(events)

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

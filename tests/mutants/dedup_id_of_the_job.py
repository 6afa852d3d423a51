"""Every event of a job bears the same dedup id, so workers drop the redelivery as a repeat (contract 10.4)."""

from __future__ import annotations

from collections.abc import Sequence

import mutation

from windlass.job_event import JobEvent
from windlass.store.driver import Connection
from windlass.store.outbox import Outbox

honest = Outbox._insert


async def insert_by_job(self: Outbox, connection: Connection, events: Sequence[JobEvent]) -> None:
    await honest(self, connection, [event._replace(dedup_id=event.job_id) for event in events])


Outbox._insert = insert_by_job  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

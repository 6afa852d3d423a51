"""Publishes inside an open transaction, as one would who wants both or neither (contract 11 row 14)."""

from __future__ import annotations

from collections.abc import Sequence

import mutation

from windlass.dispatch.relay import Relay
from windlass.job_event import OutboxRow

honest = Relay._publish


async def publish_inside(self: Relay, waves: Sequence[Sequence[OutboxRow]], epoch: int) -> list[OutboxRow]:
    async with self._outbox._database.transaction() as connection:
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute("SELECT 1")
        return await honest(self, waves, epoch)


Relay._publish = publish_inside  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

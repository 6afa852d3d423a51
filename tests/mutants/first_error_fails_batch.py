"""One record that cannot be published fails its whole batch, which is tried again at once (contract 11 row 13)."""

from __future__ import annotations

from collections.abc import Sequence

import mutation

from windlass.dispatch.backoff import Backoff
from windlass.dispatch.relay import Relay
from windlass.job_event import OutboxRow

honest = Relay._publish


async def all_or_nothing(self: Relay, waves: Sequence[Sequence[OutboxRow]], epoch: int) -> list[OutboxRow]:
    acknowledged = await honest(self, waves, epoch)
    return acknowledged if len(acknowledged) == sum(map(len, waves)) else []


Relay._publish = all_or_nothing  # type: ignore[method-assign]
Backoff.waiting = lambda _self, _now_s: []  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

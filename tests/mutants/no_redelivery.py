"""A job is handed to the broker once; what the workers' groups lose is lost (contract 6.7)."""

from __future__ import annotations

import mutation

from windlass.store.outbox import Outbox


async def redeliver_nothing(self: Outbox, postpone_s: float) -> tuple[int, int]:
    return 0, 0


Outbox.redeliver = redeliver_nothing  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

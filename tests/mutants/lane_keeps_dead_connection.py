"""A lane keeps its first connection for ever, so that it never comes back from a loss of the database."""

from __future__ import annotations

import mutation

from windlass.store.batch import Batch
from windlass.store.lanes import Lane

kept: dict[Lane, object] = {}


async def attempt_on_the_kept_one(self: Lane, batch: Batch) -> None:
    if self not in kept:
        kept[self] = await self._database._pool.acquire()
    await self._transactor.run(kept[self], batch)


Lane._attempt = attempt_on_the_kept_one  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

"""A join takes a second connection inside its transaction: a small pool deadlocks (contract 11 row 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mutation

from windlass.config import Settings
from windlass.definition.model import StepType
from windlass.store.apply import Transactor
from windlass.store.batch import Batch
from windlass.store.database import Database

pools: list[Database] = []
honest_init, honest_write = Database.__init__, Transactor._write


def init_and_remember(self: Database, settings: Settings, linked: Callable[[], None] = lambda: None) -> None:
    honest_init(self, settings, linked)
    pools.append(self)


async def write_beside(self: Transactor, connection: Any, batch: Batch, *, transactional: bool) -> None:
    if any(step.entered.step_type is StepType.JOIN_GATEWAY for step in batch.writes.new_steps.values()):
        async with pools[0].connection() as second:
            await second.fetchval("SELECT 1")
    await honest_write(self, connection, batch, transactional=transactional)


Database.__init__ = init_and_remember  # type: ignore[method-assign]
Transactor._write = write_beside  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

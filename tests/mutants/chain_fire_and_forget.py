"""Starts a chained definition from a task of its own, apart from the END's transaction (contract 11 row 12)."""

from __future__ import annotations

import asyncio
from typing import Any

import mutation

from windlass import advance
from windlass.commands import StartInstance
from windlass.store.apply import Transactor
from windlass.store.batch import Batch
from windlass.store.lanes import Lanes

SOON_S = 0.2
running: list[Lanes] = []
forgotten: set[asyncio.Task[Any]] = set()
honest_start = Lanes.start


def start_and_remember(self: Lanes) -> None:
    running.append(self)
    honest_start(self)


async def forget(self: Transactor, connection: Any, batch: Batch, around: advance.Surroundings) -> None:
    for chain in batch.chains:
        command = StartInstance(chain.definition_id, None, dict(chain.variables), None)
        task = asyncio.create_task(start_later(command))
        forgotten.add(task)
        task.add_done_callback(forgotten.discard)
    batch.chains.clear()


async def start_later(command: StartInstance) -> None:
    await asyncio.sleep(SOON_S)
    await running[0].execute(command)


Lanes.start = start_and_remember  # type: ignore[method-assign]
Transactor._chain = forget  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

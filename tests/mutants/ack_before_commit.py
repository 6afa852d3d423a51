"""Starts are answered before they are written, and some batches of them never are."""

from __future__ import annotations

from mutation import serve

from windlass.commands import StartInstance
from windlass.store.apply import Transactor
from windlass.store.batch import Batch
from windlass.store.driver import Connection

EVERY = 25

genuine = Transactor._write
batches = 0


async def write(self: Transactor, connection: Connection, batch: Batch, *, transactional: bool) -> None:
    global batches  # noqa: PLW0603
    batches += 1
    only_starts = all(isinstance(command, StartInstance) for command in batch.commands)
    if not (only_starts and batches % EVERY == 0):
        await genuine(self, connection, batch, transactional=transactional)


Transactor._write = write

if __name__ == "__main__":
    serve()

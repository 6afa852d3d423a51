"""Some starts make two instances, as a start that is retried inside the engine would."""

from __future__ import annotations

from mutation import serve

from windlass import advance
from windlass.commands import StartInstance
from windlass.store.apply import Transactor
from windlass.store.batch import Batch

EVERY = 20

genuine = Transactor._start
starts = 0


def start(self: Transactor, command: StartInstance, batch: Batch, around: advance.Surroundings) -> str:
    global starts  # noqa: PLW0603
    starts += 1
    if starts % EVERY == 0:
        genuine(self, command, batch, around)
    return genuine(self, command, batch, around)


Transactor._start = start

if __name__ == "__main__":
    serve()

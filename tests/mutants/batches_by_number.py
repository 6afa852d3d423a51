"""A batch takes whatever waits, however much work it is, and large commands wait in the same lane as small ones."""

from __future__ import annotations

from collections.abc import Sequence

import mutation

from windlass.commands import Command
from windlass.store.batch import UNBOUNDED, Bounds
from windlass.store.command_queue import CommandQueue
from windlass.store.lanes import Lane, Lanes


def lane_for(self: Lanes, _command: Command) -> Lane:
    return self._lanes[0]


def bounds(_self: Lane, _taken: Sequence[object]) -> Bounds:
    return UNBOUNDED


def make(self: CommandQueue, count_max: int, _bytes_max: int) -> None:
    genuine(self, count_max, 1 << 62)


mutation.replace(Lanes, "_lane_for", lane_for)
mutation.replace(Lane, "_bounds", bounds)
genuine = mutation.replace(CommandQueue, "__init__", make)

if __name__ == "__main__":
    mutation.serve()

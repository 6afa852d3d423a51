"""Commands that wait for a batch, with the work that each is expected to be, and how long one more would wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from windlass.commands import Command
from windlass.store.batch import EFFECT_BYTES, WRITES, Answer

COMMAND_BYTES = 4 * EFFECT_BYTES
"""Work of a command without variables."""
_SLOWER = 0.3
"""Weight of a batch that took longer than those before; one that was faster counts at once."""


@dataclass(slots=True)
class Pending:
    command: Command
    future: asyncio.Future[Answer]
    since_s: float
    work_bytes: int
    """Estimated."""
    unsent_bytes: int = 0
    """Of it, what is beyond what its caller's own variables take."""

    def is_more(self, work_bytes: int) -> None:
        """Its work is known better now."""
        if work_bytes > self.work_bytes:
            self.work_bytes = work_bytes
            self.unsent_bytes = work_bytes - work_of(self.command.sent_bytes)


def work_of(sent_bytes: int) -> int:
    """Before anything else of a command is known."""
    return COMMAND_BYTES + WRITES * sent_bytes


class CommandQueue:
    """First in, first out. `count_max` and `bytes_max`: of one batch; a command that is larger is one by itself."""

    def __init__(self, count_max: int, bytes_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._clock = clock
        self._queue: deque[Pending] = deque()
        self._work_bytes = 0
        #: between the ends of two full batches, while there is work
        self._batch_s = 0.0
        self._ended_s = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, command: Command, future: asyncio.Future[Answer]) -> None:
        work_bytes = work_of(command.sent_bytes)
        self._queue.append(Pending(command, future, self._clock(), work_bytes))
        self._work_bytes += work_bytes

    def put_aside(self, pending: Pending) -> None:
        """One from another queue: it waits from now on."""
        pending.since_s = self._clock()
        self._queue.append(pending)
        self._work_bytes += pending.work_bytes

    def put_back(self, taken: Iterable[Pending]) -> None:
        """Before all others, in the order in which they were taken."""
        back = list(taken)
        self._queue.extendleft(reversed(back))
        self._work_bytes += sum(pending.work_bytes for pending in back)

    def take(self) -> list[Pending]:
        """The next batch; those whose callers have left need no answer, and are dropped."""
        queue, work_bytes = self._queue, 0
        taken: list[Pending] = []
        while queue and len(taken) < self._count_max:
            pending = queue[0]
            is_wanted = not pending.future.done()
            if is_wanted and taken and work_bytes + pending.work_bytes > self._bytes_max:
                break
            queue.popleft()
            self._work_bytes -= pending.work_bytes
            if is_wanted:
                taken.append(pending)
                work_bytes += pending.work_bytes
        return taken

    def served(self, taken: Iterable[Pending], began_s: float) -> None:
        """They are answered; `began_s` as the clock was when they were taken."""
        now_s = self._clock()
        count = work_bytes = 0
        for pending in taken:
            count += 1
            work_bytes += pending.work_bytes
        took_s = (now_s - max(began_s, self._ended_s)) / max(1.0, self._batches(count, work_bytes))
        self._ended_s = now_s
        weight = _SLOWER if took_s > self._batch_s else 1.0
        self._batch_s += weight * (took_s - self._batch_s)

    def wait_s(self) -> float:
        """How long a command that comes now would wait: what those before it need, or as long as the first of them
        has waited already, in case nothing moves.
        """
        if not self._queue:
            return 0.0
        waited_s = self._clock() - self._queue[0].since_s
        return max(waited_s, self._batch_s * self._batches(len(self._queue), self._work_bytes))

    def _batches(self, count: int, work_bytes: int) -> float:
        return max(count / self._count_max, work_bytes / self._bytes_max)

    def clear(self) -> list[Pending]:
        left = list(self._queue)
        self._queue.clear()
        self._work_bytes = 0
        return left

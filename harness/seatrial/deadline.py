"""Waiting with a time limit: check repeatedly until something is true, and give up with an error that says why.

`until` and `until_passes` are for coroutines, `until_blocking` for threads; a loop that needs more goes over
`Deadline.attempts` itself. All of them check at once, and for the last time when the time is over. Errors of a check
and cancellations are raised: only the check itself knows which of its errors mean "not yet".

Retry libraries (tenacity, stamina, backoff) are made for calls that raise and for backing off from a busy server.
Here most looks answer "not yet" without an error and the pace is fixed, so each use would first translate its answer
into an exception; the loop that remains is shorter than that.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """`within_s` from now, on the monotonic clock."""

    def __init__(self, within_s: float) -> None:
        self._over_at_s = time.monotonic() + within_s

    @property
    def remaining_s(self) -> float:
        """Never below 0."""
        return max(0.0, self._over_at_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        return self.remaining_s == 0

    def attempts(self, every_s: float) -> Attempts:
        """For `async for` in a coroutine and `for` in a thread: one iteration at once, the next `every_s` after the
        end of the one before, the last when the time is over.
        """
        return Attempts(self, every_s)


@dataclass(slots=True)
class Attempts(AsyncIterator[None], Iterator[None]):
    """What `Deadline.attempts` returns. A loop that is left early leaves nothing behind."""

    deadline: Deadline
    every_s: float
    _is_first: bool = field(default=True, init=False)

    def __iter__(self) -> Attempts:
        return self

    def __next__(self) -> None:
        if (pause_s := self._pause_s()) is None:
            raise StopIteration
        time.sleep(pause_s)

    def __aiter__(self) -> Attempts:
        return self

    async def __anext__(self) -> None:
        if (pause_s := self._pause_s()) is None:
            raise StopAsyncIteration
        if pause_s:
            await asyncio.sleep(pause_s)

    def _pause_s(self) -> float | None:
        """None when there is no attempt left."""
        if self._is_first:
            self._is_first = False
            return 0.0
        remaining_s = self.deadline.remaining_s
        return min(self.every_s, remaining_s) if remaining_s else None


async def until(
    probe: Callable[[], T | Awaitable[T | None] | None],
    *,
    within_s: float,
    every_s: float,
    otherwise: Callable[[], Exception],
) -> T:
    """The first answer of the probe that is true. Raises what `otherwise` makes when there is none in time."""
    async for _ in Deadline(within_s).attempts(every_s):
        asked = probe()
        answer = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer
    raise otherwise()


async def until_passes(
    check: Callable[[], Awaitable[str | None]],
    *,
    within_s: float,
    every_s: float,
    otherwise: Callable[[str], Exception],
) -> None:
    """Returns when the check answers None. Raises what `otherwise` makes of its last answer, which says why not."""
    cause: str | None = None
    async for _ in Deadline(within_s).attempts(every_s):
        cause = await check()
        if cause is None:
            return
    raise otherwise(str(cause))


def until_blocking(
    probe: Callable[[], T | None], *, within_s: float, every_s: float, otherwise: Callable[[], Exception]
) -> T:
    """As `until`, in a thread that may wait."""
    for _ in Deadline(within_s).attempts(every_s):
        if answer := probe():
            return answer
    raise otherwise()

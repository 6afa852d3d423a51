"""Calls that begin work are refused early while what was taken before waits too long: a caller that is told so at once
can try again, one that waits for its time-out holds its connection and memory, and does not know what happened.

Completions, fails, timers and cancels are never refused here: they end work.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from windlass.errors import Overloaded

RETRY_AFTER_S_MAX = 60


class Overload:
    """`wait_s`: by the size of a call in bytes, how long it would wait for its turn now. `refused`: told of each."""

    def __init__(
        self, wait_s: Callable[[int], float], wait_s_max: float, refused: Callable[[float], None]
    ) -> None:
        self._wait_s = wait_s
        self._wait_s_max = wait_s_max
        self._refused = refused

    def admit(self, call_bytes: int) -> None:
        """Raises Overloaded. After the time that it tells, what waits now is over if nothing else comes."""
        wait_s = self._wait_s(call_bytes)
        if wait_s <= self._wait_s_max:
            return
        self._refused(wait_s)
        retry_after_s = min(RETRY_AFTER_S_MAX, math.ceil(wait_s))
        raise Overloaded(
            f"this node is overloaded: the call would wait {wait_s:.1f} s for its turn, and at most "
            f"{self._wait_s_max:g} s are allowed (WINDLASS_QUEUE_SECONDS_MAX); nothing was done, try again in "
            f"{retry_after_s} s",
            retry_after_s,
        )

"""The end of a process: everything that is closed shares one time, whatever hangs.

An orchestrator kills a process that is still there when its time is over, and with it whatever could have been given
back. So no part may use up the time of those after it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

OWN_SHARE, OWN_S_MIN, OWN_S_MAX = 0.2, 0.25, 2.0
"""What is kept of the grace for the time after the callers have gone; the least also with a grace of 0."""
FORCED_AFTER_S = 1.0
"""Past the grace: the loop itself, or a thread, hangs."""


class Closing:
    """The time of one stop. `undone` is told of each step that did not end in its time (None), or with which error."""

    def __init__(self, grace_s: float, undone: Callable[[str, BaseException | None], None]) -> None:
        own_s = min(OWN_S_MAX, max(OWN_S_MIN, OWN_SHARE * grace_s))
        began_s = time.monotonic()
        self._callers_until_s = began_s + max(0.0, grace_s - own_s)
        self._until_s = began_s + max(grace_s, own_s)
        self._undone = undone

    @property
    def callers_s(self) -> float:
        """How long calls in progress may still take."""
        return max(0.0, self._callers_until_s - time.monotonic())

    @property
    def left_s(self) -> float:
        return max(0.0, self._until_s - time.monotonic())

    async def step(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Does `work` for at most half of the time that is left, so that every later step has some. Raises nothing:
        whoever closes goes on.
        """
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=self.left_s / 2)
        if not done:
            # Not waited for: what hangs may hang in its own cleaning up as well.
            task.cancel()
            self._undone(name, None)
        elif not task.cancelled() and (err := task.exception()) is not None:
            self._undone(name, err)


def end_by_force(after_s: float, told: Callable[[], None]) -> None:
    """Ends the process when it is still there after that time, once `told` has returned."""

    def end() -> None:
        told()
        os._exit(1)

    timer = threading.Timer(after_s, end)
    timer.daemon = True
    timer.start()

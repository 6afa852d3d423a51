"""Waiting for what another process does: until it is so, never for a fixed time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

WITHIN_S = 15.0
"""Generous: the machine is shared, and no test is made faster by giving up early."""
LOOK_INTERVAL_S = 0.02

T = TypeVar("T")


@overload
async def eventually(
    probe: Callable[[], Awaitable[T]], within_s: float = WITHIN_S, *, every_s: float = LOOK_INTERVAL_S
) -> T: ...
@overload
async def eventually(
    probe: Callable[[], T], within_s: float = WITHIN_S, *, every_s: float = LOOK_INTERVAL_S
) -> T: ...


async def eventually(
    probe: Callable[[], Any], within_s: float = WITHIN_S, *, every_s: float = LOOK_INTERVAL_S
) -> Any:
    """The first true answer of the probe; fails the test when there is none in time."""
    give_up_at_s = time.monotonic() + within_s
    while True:
        asked = probe()
        answer = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer
        assert time.monotonic() < give_up_at_s, f"not within {within_s} s; the last answer was {answer!r}"
        await asyncio.sleep(every_s)

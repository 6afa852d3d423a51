"""What is read in a thread leaves the event loop its turns."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from windlass.api.aside import Aside

STEPS = 60


async def steps_s(aside: Aside, turn_s: float | None = None) -> float:
    """Of so many waits, one after the other, while the thread is at work."""
    begun, ended = threading.Event(), list[bool]()

    def spin() -> None:
        begun.set()
        while not ended:
            pass

    working = asyncio.ensure_future(aside.run(spin))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    if turn_s is not None:
        sys.setswitchinterval(turn_s)
    began_s = time.perf_counter()
    for _ in range(STEPS):
        await asyncio.sleep(0.0001)
    took_s = time.perf_counter() - began_s
    ended.append(True)
    await working
    return took_s


async def test_a_small_call_goes_on_while_a_large_body_is_read() -> None:
    aside, usual_s = Aside("large"), sys.getswitchinterval()
    soon_s = min([await steps_s(aside) for _ in range(3)])
    late_s = min([await steps_s(aside, usual_s) for _ in range(3)])
    assert soon_s < late_s / 2
    assert sys.getswitchinterval() == usual_s, "and otherwise it is as it was"

"""Runs the harness's coroutines on uvloop if it is installed, else on asyncio's own loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[object, object, Result]) -> Result:
    """As asyncio.run: the first Ctrl-C cancels `main`, which then cleans up; SIGTERM does the same.

    Raises KeyboardInterrupt or CancelledError afterwards.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_terminable(main))


async def _terminable(main: Coroutine[object, object, Result]) -> Result:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory

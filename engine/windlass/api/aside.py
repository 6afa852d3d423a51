"""Large bodies are read in a thread, one at a time, so that small calls do not wait for them in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

IN_LOOP_BYTES_MAX = 256 * 1024
TURN_S = 0.0005
"""After each of its waits the event loop may wait so long for the thread, and a small call has a dozen of them. By
Python's default it would be ten times as long.
"""

P = ParamSpec("P")
T = TypeVar("T")


class _Turns:
    """Short ones while any of the threads is at work; otherwise they would cost the loop and the log's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self._usual_s = sys.getswitchinterval()

    @contextlib.contextmanager
    def short(self) -> Iterator[None]:
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, count: int) -> None:
        with self._lock:
            self._at_work += count
            sys.setswitchinterval(TURN_S if self._at_work else self._usual_s)


_turns = _Turns()


class Aside:
    def __init__(self, name: str) -> None:
        # More threads would share one processor and make their temporary copies at the same time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def in_turns() -> T:
            with _turns.short():
                return work(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_turns)

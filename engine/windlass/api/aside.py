"""Large bodies are read in a thread, one at a time, so that small calls do not wait for them in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

IN_LOOP_BYTES_MAX = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    def __init__(self, name: str) -> None:
        # More threads would share one processor and make their temporary copies at the same time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

"""The process's own size, looked at twice a second: what nobody counts is seen here at the latest."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from windlass.memory import Budget

INTERVAL_S = 0.5
PRESSED_FROM = 0.9
"""Of the limit: beyond it nothing large is taken."""

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """0 where the kernel does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


class MemoryWatch:
    def __init__(
        self,
        budget: Budget,
        shown: Callable[[Budget], None],
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self._budget = budget
        self._shown = shown
        self._resident = resident
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    async def look(self) -> None:
        budget = self._budget
        line = budget.limit_bytes * PRESSED_FROM
        is_pressed = self._resident() > line
        if is_pressed and self._trim is not None:
            # What was freed may still be kept by the allocator (glibc's malloc_trim(3)).
            self._trim(0)
            is_pressed = self._resident() > line
        budget.is_pressed = is_pressed
        budget.serve()
        self._shown(budget)

"""The process's own size, looked at twice a second: what nobody counts is seen here at the latest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from windlass import allocator
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

    async def look(self) -> None:
        budget = self._budget
        at_rest = budget.limit_bytes - budget.capacity_bytes
        line = budget.limit_bytes * PRESSED_FROM
        resident = self._resident()
        if resident > min(line, at_rest + budget.drawn_bytes):
            allocator.give_back()
            resident = self._resident()
        budget.uncounted_bytes = max(0, resident - at_rest - budget.drawn_bytes)
        budget.is_pressed = resident > line
        budget.serve()
        self._shown(budget)

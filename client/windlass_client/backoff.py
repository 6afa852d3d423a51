"""Pauses between attempts: each twice the one before, up to a longest, each a fifth shorter or longer by chance."""

from __future__ import annotations

import random

FIRST_S = 0.1
JITTER = 0.2


class Backoff:
    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._next_s = FIRST_S

    def pause_s(self) -> float:
        """How long to pause now; the next pause is longer."""
        pause_s = self._next_s
        self._next_s = min(self._next_s * 2, self._longest_s)
        return pause_s * random.uniform(1 - JITTER, 1 + JITTER)

    def reset(self) -> None:
        self._next_s = FIRST_S

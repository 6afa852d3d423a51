"""What a log says again and again: one line now and then, with the number of those that it stands for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

PAUSE_S = 10.0
"""Between two lines that say the same."""
TEXTS_MAX = 100
"""Texts remembered; with more of them, the one that came longest ago is forgotten, and its count with it."""


class Repeats:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: by text, when it was told and how often it was not since; the one that came longest ago first
        self._told: dict[str, tuple[float, int]] = {}

    def count(self, text: str) -> int | None:
        """None: it was told a moment ago. Else it is to be told now, with how often it was not since it was."""
        now_s = self._clock()
        told = self._told.pop(text, None)
        if told is not None and now_s - told[0] < PAUSE_S:
            self._told[text] = (told[0], told[1] + 1)
            return None
        if len(self._told) >= TEXTS_MAX:
            del self._told[next(iter(self._told))]
        self._told[text] = (now_s, 0)
        return 0 if told is None else told[1]

    def untold(self) -> Iterator[tuple[str, int]]:
        """What happened since it was last told, and how often; all of it is forgotten."""
        told, self._told = self._told, {}
        for text, (_, count) in told.items():
            if count:
                yield text, count

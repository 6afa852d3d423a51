"""Waiting after failures, without a clock of its own: every call passes the time (seconds, monotonic)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Wait:
    delay_s: float
    until_s: float


class Backoff(Generic[K]):
    """Each key waits separately: first `first_s`, twice as long after each further failure, at most `most_s`."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._waits: dict[K, _Wait] = {}

    def failed(self, key: K, now_s: float) -> float:
        """How long the key waits from now on."""
        known = self._waits.get(key)
        delay_s = self._first_s if known is None else min(known.delay_s * 2, self._most_s)
        self._waits[key] = _Wait(delay_s, now_s + delay_s)
        return delay_s

    def succeeded(self, key: K) -> None:
        self._waits.pop(key, None)

    def waiting(self, now_s: float) -> list[K]:
        return [key for key, wait in self._waits.items() if wait.until_s > now_s]

    def is_known(self, key: K) -> bool:
        """Whether it failed since its last success."""
        return key in self._waits

    def next_s(self, now_s: float) -> float | None:
        """How long until the first of those that wait may be tried, None when none waits."""
        left = [wait.until_s - now_s for wait in self._waits.values() if wait.until_s > now_s]
        return min(left, default=None)

    def clear(self) -> None:
        self._waits.clear()

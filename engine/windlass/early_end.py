"""A way to end the wait of one call before its time."""

from __future__ import annotations

from collections.abc import Callable


class EarlyEnd:
    """Called by whoever needs the call's place: it then ends as if its time were over, with what it has got until then.

    Whoever does the waiting says how, by `bind`.
    """

    __slots__ = ("_end", "asked")

    def __init__(self) -> None:
        self._end: Callable[[], None] | None = None
        self.asked = False

    def __call__(self) -> None:
        self.asked = True
        if self._end is not None:
            self._end()

    def bind(self, end: Callable[[], None]) -> None:
        """`end` may be called at once, and after the wait is over."""
        self._end = end
        if self.asked:
            end()

"""TLS handshakes under way. For a caller who has sent 510 bytes OpenSSL keeps 159 KiB if he announces so much, which no
budget can tell; so their number is bounded.
"""

from __future__ import annotations

from typing import Protocol

SLOW_S = 1.0
"""From then on a handshake gives way to others."""


class Handshake(Protocol):
    def go_on(self) -> None:
        """There is room for it now."""

    def cut(self) -> None:
        """Others need its room."""


class Handshakes:
    """Of one server. Those beyond `most` wait, and the eldest gives way when it is slow: an honest one takes
    milliseconds.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        #: with the loop time of its beginning, the eldest first
        self._under_way: dict[Handshake, float] = {}
        self._waiting: dict[Handshake, None] = {}

    def __len__(self) -> int:
        """Those that wait included."""
        return len(self._under_way) + len(self._waiting)

    def begin(self, handshake: Handshake, now_s: float) -> bool:
        """False: `go_on` is called when there is room."""
        self._make_room(now_s)
        if len(self._under_way) < self._most:
            self._under_way[handshake] = now_s
            return True
        self._waiting[handshake] = None
        return False

    def end(self, handshake: Handshake, now_s: float) -> None:
        """It is over, or its caller has gone; may be told again."""
        self._waiting.pop(handshake, None)
        if self._under_way.pop(handshake, None) is not None:
            self._let_in(now_s)

    def look(self, now_s: float) -> None:
        """Called at each check of the deadlines."""
        while self._waiting and self._make_room(now_s):
            self._let_in(now_s)

    def _make_room(self, now_s: float) -> bool:
        if len(self._under_way) < self._most:
            return True
        eldest, since_s = next(iter(self._under_way.items()))
        if now_s - since_s < SLOW_S:
            return False
        del self._under_way[eldest]
        eldest.cut()
        return True

    def _let_in(self, now_s: float) -> None:
        if self._waiting and len(self._under_way) < self._most:
            first = next(iter(self._waiting))
            del self._waiting[first]
            self._under_way[first] = now_s
            first.go_on()

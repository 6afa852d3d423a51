"""Concurrent calls of each gRPC connection. Beyond its limit calls wait at the client, where no server can tell a
completion from a poll: so the last tenth is kept free of polls.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.early_end import EarlyEnd

SPARE_PART = 10
"""Of the calls that a connection may have, the last one in so many is not for polls that wait."""


class _Connection:
    __slots__ = ("calls", "waiting")

    def __init__(self) -> None:
        self.calls = 0
        #: polls, the one that has waited for longest first
        self.waiting: dict[EarlyEnd, None] = {}


class Streams:
    """Each call enters and leaves; `peer` names its connection. `ended_early` counts a poll that had to make room."""

    def __init__(self, streams_max: int, ended_early: Callable[[], None]) -> None:
        self._kept_max = streams_max - streams_max // SPARE_PART
        self._ended_early = ended_early
        self._connections: dict[str, _Connection] = {}

    @property
    def connections(self) -> int:
        """Of them, those that have a call."""
        return len(self._connections)

    def enter(self, peer: str, early: EarlyEnd | None) -> None:
        """`early` ends the call if it is one that waits. For each call above the limit one that waits is ended."""
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = _Connection()
        connection.calls += 1
        if (
            connection.calls > self._kept_max
            and (longest := next(iter(connection.waiting), None)) is not None
        ):
            del connection.waiting[longest]
            self._ended_early()
            longest()
        if early is not None:
            connection.waiting[early] = None

    def leave(self, peer: str, early: EarlyEnd | None) -> None:
        connection = self._connections[peer]
        connection.calls -= 1
        if not connection.calls:
            del self._connections[peer]
        elif early is not None:
            connection.waiting.pop(early, None)

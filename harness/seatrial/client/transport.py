"""The transports: their names, and their common interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from seatrial.client.answer import Answer
from seatrial.client.request import Request
from seatrial.cluster import Replica
from seatrial.history import TransportName

TRANSPORTS: Mapping[str, tuple[TransportName, ...]] = {
    "rest": ("rest",),
    "grpc": ("grpc",),
    "both": ("rest", "grpc"),
}
"""The option of a run -> the transports from which each call draws."""


class Transport(Protocol):
    """Keeps its connections to each replica between calls."""

    async def exchange(self, replica: Replica, request: Request, limit_s: float) -> Answer:
        """One call and how it ended, at most `limit_s` later. Nothing is retried."""
        ...

    async def close(self) -> None: ...

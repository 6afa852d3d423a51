"""The wake bus as a port: how the hints of one node reach the others.

`buses.py` chooses among the implementations. A bus carries hints only: it may lose one, deliver it twice, or be away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

PAYLOAD_BYTES_MAX = 7_900
"""What every bus takes; PostgreSQL refuses 8000."""


class BusLost(Exception):
    """The bus cannot be used at present; the text says why and, where something can be done, what."""


class BusConnection(Protocol):
    """Every method but `close` raises BusLost; after that only `close` is called."""

    async def publish(self, payload: str, within_s: float) -> None:
        """To every node that is connected, this one too; at most `PAYLOAD_BYTES_MAX` bytes."""
        ...

    async def ping(self, within_s: float) -> None:
        """Returns when the bus has answered, so that a half-open connection is noticed."""
        ...

    async def close(self) -> None:
        """Without waiting for the bus."""
        ...


class WakeBus(Protocol):
    async def open(self, heard: Callable[[str], None], lost: Callable[[], None]) -> BusConnection:
        """`heard` gets each payload; `lost` may be called when the connection has ended, and `ping` raises then.

        Raises BusLost.
        """
        ...

"""Wrong tokens, counted for each address: whoever guesses is slowed to one guess a second. Memory is bounded."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache

GUESSES_AT_ONCE = 20
GUESSES_PER_S = 1.0
ADDRESSES_MAX = 10_000
"""Addresses remembered; with more of them, the one that guessed first is forgotten."""
GOOD_MAX = 20_000
"""Pairs of address and token that were right lately: they are not held up by what others at that address guess."""


class Attempts:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: by address, the guesses it has left and when that was so
        self._left: dict[str, tuple[float, float]] = {}
        self._good: dict[tuple[str, bytes], None] = {}

    def holds_up(self, address: str, digest: bytes) -> float:
        """Seconds until this token may be tried from there; 0 = now."""
        if not self._left or address not in self._left or (address, digest) in self._good:
            return 0.0
        return max(0.0, (1.0 - self._guesses_left(address)) / GUESSES_PER_S)

    def wrong(self, address: str) -> None:
        left = self._guesses_left(address)
        self._left.pop(address, None)
        if len(self._left) >= ADDRESSES_MAX:
            del self._left[next(iter(self._left))]
        self._left[address] = (left - 1.0, self._clock())

    def right(self, address: str, digest: bytes) -> None:
        key = (address, digest)
        if key not in self._good:
            if len(self._good) >= GOOD_MAX:
                del self._good[next(iter(self._good))]
            self._good[key] = None

    def _guesses_left(self, address: str) -> float:
        known = self._left.get(address)
        if known is None:
            return float(GUESSES_AT_ONCE)
        left, at_s = known
        return min(float(GUESSES_AT_ONCE), left + (self._clock() - at_s) * GUESSES_PER_S)


@lru_cache(4096)
def counted_address(host: str) -> str:
    """What counts as one address: an IPv4 address, or the network of 64 bits that one IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))

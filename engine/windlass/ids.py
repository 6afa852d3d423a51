"""ULIDs: 26 characters of upper-case Crockford base 32, monotonic within a process (contract 9)."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_RANDOM_BITS = 80


class UlidSource:
    """Two ids of one source never compare equal or out of order, also when the clock steps back."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        stamped = (time.time_ns() // 1_000_000) << _RANDOM_BITS
        if stamped > self._last:
            # The top random bit stays clear, so that increments within a millisecond cannot overflow.
            self._last = stamped | secrets.randbits(_RANDOM_BITS - 1)
        else:
            self._last += 1
        number = self._last
        pairs = [""] * 13
        for place in range(12, -1, -1):
            pairs[place] = _PAIRS[number & 1023]
            number >>= 10
        return "".join(pairs)

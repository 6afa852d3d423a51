"""ULIDs: 26 characters of upper-case Crockford base 32, monotonic within a process (contract 9)."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_RANDOM_BITS = 80
_COUNTER_BITS = 30


class UlidSource:
    """Two ids of one source are never equal or out of order, even if the clock steps back.

    Within a millisecond only the last six characters count up; the twenty before them are kept.
    """

    def __init__(self) -> None:
        self._millisecond = 0
        self._prefix = ""
        self._counter = 0

    def __call__(self) -> str:
        now = time.time_ns() // 1_000_000
        if now > self._millisecond:
            self._millisecond = now
            # The top bit of the counter starts clear: half a billion ids fit before it could overflow.
            self._counter = secrets.randbits(_COUNTER_BITS - 1)
            stamped = (now << (_RANDOM_BITS - _COUNTER_BITS)) | secrets.randbits(_RANDOM_BITS - _COUNTER_BITS)
            self._prefix = "".join(_PAIRS[(stamped >> shift) & 1023] for shift in range(90, -1, -10))
        else:
            self._counter += 1
        count = self._counter
        return self._prefix + _PAIRS[count >> 20] + _PAIRS[(count >> 10) & 1023] + _PAIRS[count & 1023]

"""However often the lease of a job lapses, it is handed out again."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.sweep.leases import LeaseSweep

genuine = LeaseSweep.__init__


def make(self: LeaseSweep, *parts: Any, **settings: Any) -> None:
    genuine(self, *parts, **{**settings, "expiries_max": 0})


LeaseSweep.__init__ = make

if __name__ == "__main__":
    serve()

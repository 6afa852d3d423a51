"""Only every fifth look for expired leases is made."""

from __future__ import annotations

from itertools import count

from mutation import serve

from windlass.sweep.leases import LeaseSweep

genuine = LeaseSweep.sweep
turns = count()


async def sweep(self: LeaseSweep) -> int:
    return await genuine(self) if next(turns) % 5 == 0 else 0


LeaseSweep.sweep = sweep  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()

"""Lapsed leases are never taken back."""

from __future__ import annotations

from mutation import serve

from windlass.sweep.leases import LeaseSweep


async def sweep(_self: LeaseSweep) -> None:
    return


LeaseSweep.sweep = sweep

if __name__ == "__main__":
    serve()

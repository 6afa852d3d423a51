"""Readiness wants the wake bus, which carries hints alone: while Redis is away no node takes calls."""

from __future__ import annotations

import mutation

from windlass.engine import Engine
from windlass.wire import Readiness

really_ready = Engine.readiness


async def readiness(self: Engine) -> Readiness:
    found = await really_ready(self)
    return Readiness(found.ready and not found.degraded, [*found.reasons, *found.degraded], ())


Engine.readiness = readiness  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

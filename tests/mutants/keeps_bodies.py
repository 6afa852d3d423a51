"""What was read of a caller's body stays in memory after the answer."""

from __future__ import annotations

from typing import Any

import mutation

from windlass.api.call import Request

genuine = Request.__init__
kept: list[bytes] = []
COPIES = 4


def make(self: Request, *parts: Any, **named: Any) -> None:
    genuine(self, *parts, **named)
    # Copies, as of a cache of bodies and one of the values in them.
    kept.extend(bytes(bytearray(self.body)) for _ in range(COPIES))


Request.__init__ = make  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

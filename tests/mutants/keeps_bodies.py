"""What was read of a caller's body stays in memory after the answer."""

from __future__ import annotations

from typing import Any

import mutation

from windlass.api.call import Request

genuine = Request.__init__
kept: list[bytes] = []


def make(self: Request, *parts: Any, **named: Any) -> None:
    genuine(self, *parts, **named)
    # A copy, as a cache of parsed bodies would be.
    kept.append(bytes(bytearray(self.body)))


Request.__init__ = make  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

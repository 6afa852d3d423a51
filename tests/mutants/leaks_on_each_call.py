"""A kilobyte of each call stays in memory."""

from __future__ import annotations

from typing import Any

import mutation

from windlass.api.call import Request

genuine = Request.__init__
kept: list[bytearray] = []


def make(self: Request, *parts: Any, **named: Any) -> None:
    genuine(self, *parts, **named)
    kept.append(bytearray(1024))


Request.__init__ = make  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

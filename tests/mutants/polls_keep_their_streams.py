"""Polls that wait may have all calls of a gRPC connection."""

from __future__ import annotations

from collections.abc import Callable

import mutation

from windlass.api.streams import SPARE_PART, Streams

made = Streams.__init__


def without_spare(self: Streams, streams_max: int, ended_early: Callable[[], None]) -> None:
    """The limit at which polls begin to be ended is never reached."""
    made(self, SPARE_PART * streams_max, ended_early)


Streams.__init__ = without_spare  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

"""Exposes the broker's backlog gauge although the mode is polling."""

from __future__ import annotations

import mutation

from windlass.metrics import Metrics

honest = Metrics.__init__


def with_backlog(self: Metrics, dispatch_mode: str) -> None:
    honest(self, "kafka_outbox")


Metrics.__init__ = with_backlog  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

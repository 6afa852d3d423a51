"""Exposes the broker's backlog gauge although the mode is polling."""

from __future__ import annotations

import mutation
from prometheus_client import Gauge

from windlass.telemetry.metrics import Metrics

honest = Metrics._own


def with_backlog(self: Metrics, dispatch_mode: str) -> None:
    honest(self, dispatch_mode)
    Gauge("workflow_engine_dispatch_outbox_backlog", "Rows not yet published", registry=self.registry)


Metrics._own = with_backlog  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()

"""A gRPC connection that is old enough is cut with the calls on it."""

from __future__ import annotations

from collections.abc import Iterator

import mutation

from windlass.api import grpc
from windlass.config import Settings


def without_grace(settings: Settings) -> Iterator[tuple[str, int]]:
    yield "grpc.max_connection_age_ms", round(settings.grpc_connection_age_s * 1000)
    yield "grpc.max_connection_age_grace_ms", 1


mutation.replace(grpc, "_age", without_grace)

if __name__ == "__main__":
    mutation.serve()

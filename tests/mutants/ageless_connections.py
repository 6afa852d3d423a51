"""A gRPC connection is kept for as long as its client likes, so new replicas get none of the calls on it."""

from __future__ import annotations

from collections.abc import Iterator

import mutation

from windlass.api import grpc
from windlass.config import Settings


def for_ever(_settings: Settings) -> Iterator[tuple[str, int]]:
    yield from ()


mutation.replace(grpc, "_age", for_ever)

if __name__ == "__main__":
    mutation.serve()

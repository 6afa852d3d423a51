"""Where one engine is to be met."""

from __future__ import annotations

from typing import NamedTuple

from engine_client import EngineClient


class Doors(NamedTuple):
    """The addresses of one engine, and the raw wire beside."""

    rest: str
    grpc: str
    engine: EngineClient

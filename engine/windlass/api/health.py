"""Liveness, readiness and details of the node's state (contract 1.8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import version

import msgspec

from windlass.api.call import Request, Response
from windlass.api.engine_port import EnginePort
from windlass.config import Settings
from windlass.errors import EngineError
from windlass.wire import Readiness

#: Answering late is worse for a probe than answering with the reason.
READINESS_WITHIN_S = 3.0

DRAINING = "draining: the node is shutting down"

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Health:
    """`draining` tells whether the node is shutting down; `connections` how many callers it has."""

    def __init__(
        self,
        engine: EnginePort,
        settings: Settings,
        *,
        draining: Callable[[], bool],
        connections: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._draining = draining
        self._connections = connections
        self._since_s = time.monotonic()
        self._version = version("windlass")

    def healthz(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002 - a route's signature
        return Response(200)

    def alive(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002
        return _json(200, {"status": "alive", "version": self._version, "nodeName": self._settings.node_name})

    async def ready(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002
        readiness = await self._readiness()
        return _json(200 if readiness.ready else 503, readiness)

    def serving(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002
        return _json(200, {"status": "serving"})

    async def ready_word(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002
        """As `ready`, in the words that operators of small clusters look for."""
        readiness = await self._readiness()
        told: dict[str, object] = {"status": "ready" if readiness.ready else "not-ready"}
        if not readiness.ready:
            told["reasons"] = readiness.reasons
        if readiness.degraded:
            told["degraded"] = readiness.degraded
        return _json(200 if readiness.ready else 503, told)

    async def detailed(self, request: Request, ids: list[str]) -> Response:  # noqa: ARG002
        """Answer 200 whatever the state: this page is for people."""
        readiness = await self._readiness()
        state = {
            "status": "ready" if readiness.ready else "not-ready",
            "reasons": readiness.reasons,
            "version": self._version,
            "nodeName": self._settings.node_name,
            "dispatchMode": self._settings.dispatch_mode,
            "uptimeSeconds": round(time.monotonic() - self._since_s, 3),
            "connections": self._connections(),
        }
        return _json(200, {**state, **self._engine.details()})

    async def _readiness(self) -> Readiness:
        try:
            async with asyncio.timeout(READINESS_WITHIN_S):
                found = await self._engine.readiness()
        except TimeoutError:
            reason = f"the readiness check took longer than {READINESS_WITHIN_S:g} s"
            return Readiness(ready=False, reasons=(reason,))
        except EngineError as error:
            return Readiness(ready=False, reasons=(error.reason,))
        if found.ready and self._draining():
            return Readiness(ready=False, reasons=(DRAINING,))
        return found


def _json(status: int, value: object) -> Response:
    return Response(status, _encode(value) + b"\n")

"""The metrics port: Prometheus text, or OpenMetrics for whoever accepts it, on `/metrics` and `/` (contract 8.1), a
queue's length on `/metrics/{jobType}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from windlass.api import faults
from windlass.api.call import TEXT, Limits, MadeRoom, Request, Response
from windlass.api.gate import metrics_gate
from windlass.api.http import HttpServer
from windlass.auth.gate import Gate
from windlass.config import Settings
from windlass.errors import BadRequest, EngineError
from windlass.memory import LIMIT_BYTES_MIN, Budget
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import CONTENT_TYPE, OPEN_METRICS, OPEN_METRICS_CONTENT_TYPE, Metrics
from windlass.tls.watch import CertificateWatch

_BODY_BYTES_MAX = 64 * 1024
_QUEUES = b"/metrics/"


class MetricsApp:
    """`queue_length` counts the waiting jobs of a type; EngineError when it cannot."""

    def __init__(
        self,
        metrics: Metrics,
        settings: Settings,
        log: Log,
        queue_length: Callable[[str], Awaitable[int]],
        gate: Gate | None = None,
        tls: CertificateWatch | None = None,
    ) -> None:
        self._metrics = metrics
        self._queue_length = queue_length
        limits = Limits(
            request_s=settings.request_timeout_s,
            body_bytes_max=_BODY_BYTES_MAX,
            connections_max=settings.metrics_connections_max,
        )
        # Of its own: metrics are answered whatever room the APIs have left.
        memory = Budget(LIMIT_BYTES_MIN)
        self._server = HttpServer(
            self,
            log,
            limits,
            memory,
            name="metrics",
            variable="WE_METRICS_PORT",
            gate=metrics_gate(gate) if gate else None,
            tls=tls,
        )
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens, on `self.port`; BootRefused names the cause when that fails."""
        self.port = await self._server.start(host, port)

    async def drain(self, grace_s: float) -> None:
        await self._server.drain(grace_s)

    def handle(self, request: Request) -> Response | Coroutine[Any, Any, Response]:
        queue = request.path.removeprefix(_QUEUES) if request.path.startswith(_QUEUES) else b""
        if not queue and request.path not in {b"/metrics", b"/"}:
            return Response(404, b"404 page not found\n", TEXT)
        if request.method not in {"GET", "HEAD"}:
            return Response(405, headers=b"Allow: GET, HEAD\r\n")
        if queue:
            return self._queue(queue)
        if OPEN_METRICS.encode() in request.headers.get(b"accept", b""):
            return Response(200, self._metrics.open_metrics(), OPEN_METRICS_CONTENT_TYPE.encode())
        return Response(200, self._metrics.exposition(), CONTENT_TYPE.encode())

    def weigh(self, request: Request) -> int:  # noqa: ARG002 - a body means nothing here
        return 0

    async def _queue(self, written: bytes) -> Response:
        """Answer as KEDA's metrics-api scaler reads it, with `valueLocation: queue_length`."""
        try:
            length = await self._queue_length(_job_type(written))
        except EngineError as error:
            return faults.answer(error)
        return Response(200, msgspec.json.encode({"queue_length": length}) + b"\n")

    def refuse(self, status: int, reason: str) -> Response:
        return faults.early(status, reason)

    def observe(self, request: Request, response: Response, duration_ns: int) -> None:
        """Record nothing: scrapes are not calls of the API."""

    def made_room(self, how: MadeRoom) -> None:
        """Count nothing, either."""


def _job_type(written: bytes) -> str:
    try:
        return unquote_to_bytes(written).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the queue {written.decode('latin-1')!r} is not valid UTF-8; percent-encode the job type as UTF-8"
        ) from error

"""The metrics port: Prometheus text on `/metrics` and `/`, nothing else (contract 8.1)."""

from __future__ import annotations

from windlass.api import faults
from windlass.api.call import TEXT, Limits, Request, Response
from windlass.api.http import HttpServer
from windlass.config import Settings
from windlass.metrics import CONTENT_TYPE, Metrics
from windlass.observe import Log

_BODY_BYTES_MAX = 64 * 1024
_CONNECTIONS_MAX = 100


class MetricsApp:
    def __init__(self, metrics: Metrics, settings: Settings, log: Log) -> None:
        self._metrics = metrics
        limits = Limits(
            request_s=settings.request_timeout_s,
            body_bytes_max=_BODY_BYTES_MAX,
            connections_max=_CONNECTIONS_MAX,
        )
        self._server = HttpServer(self, log, limits, name="metrics", variable="WE_METRICS_PORT")
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens, on `self.port`; BootRefused names the cause when that fails."""
        self.port = await self._server.start(host, port)

    async def drain(self, grace_s: float) -> None:
        await self._server.drain(grace_s)

    def handle(self, request: Request) -> Response:
        if request.path not in {b"/metrics", b"/"}:
            return Response(404, b"404 page not found\n", TEXT)
        if request.method not in {"GET", "HEAD"}:
            return Response(405, headers=b"Allow: GET, HEAD\r\n")
        return Response(200, self._metrics.exposition(), CONTENT_TYPE.encode())

    def refuse(self, status: int, reason: str) -> Response:
        return faults.early(status, reason)

    def observe(self, request: Request, response: Response, duration_ns: int) -> None:
        """Take no note: scrapes are no calls of the API."""

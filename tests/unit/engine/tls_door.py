"""All doors behind TLS, and behind a gate that knows certificates; over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from caller import Caller, get
from door import Door

from certificates import Authority, Issued
from windlass.access_settings import AccessSettings
from windlass.api.gen import workflow_pb2 as pb
from windlass.api.grpc import GrpcApp
from windlass.api.metrics import MetricsApp
from windlass.api.rest import RestApp
from windlass.auth import tokens
from windlass.auth.gate import Gate, Refusal
from windlass.telemetry.node import NodeTelemetry
from windlass.tls.watch import CertificateWatch
from windlass.tls_settings import TlsSettings

AUTHORITY, STRANGER = Authority(), Authority("a stranger")
FIRST, SECOND = AUTHORITY.issue(), AUTHORITY.issue()
CALLERS = {
    "by-name": AUTHORITY.issue("mailer", dns=()),
    "by-dns": AUTHORITY.issue("any", dns=("mailer.example.com", "more.example.com")),
    "by-uri": AUTHORITY.issue("any", dns=(), uris=("spiffe://example.com/shop",)),
    "by-two": AUTHORITY.issue("mailer", dns=("mailer.example.com",)),
    "by-none": AUTHORITY.issue("nobody"),
}
LINES = "\n".join(
    [
        '"by-name" = { role = "client", certificate = "CN=mailer" }',
        '"by-dns" = { role = "client", certificate = "dns:mailer.example.com" }',
        '"by-uri" = { role = "worker", certificate = "spiffe://example.com/shop", job_types = ["a"] }',
        f'"by-token" = {{ role = "client", sha256 = "{tokens.digest_of("right").hex()}" }}',
    ]
)


class Secure(Door):
    """All doors behind TLS, and behind a gate if there are lines of a tokens file."""

    def __init__(
        self,
        folder: Path,
        lines: str = "",
        *,
        asks: bool = False,
        cors_origins: str | None = None,
        **settings: Any,
    ) -> None:
        access = AccessSettings(tokens_file="/nowhere" if lines else None, cors_origins=cors_origins)
        super().__init__(access=access, **settings)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        cert, key = FIRST.write(folder)
        authority = AUTHORITY.write(folder / "ca.crt")
        self.tls = CertificateWatch(
            TlsSettings(
                tls_cert_file=str(cert),
                tls_key_file=str(key),
                tls_client_ca_file=str(authority) if asks else None,
            ),
            NodeTelemetry(self.metrics, self.log),
        )
        self.tls.begin()
        self.refused: list[Refusal] = []
        gate = Gate(tokens.parse(lines), self.refused.append) if lines else None
        parts = self.service, self.settings, self.metrics, self.log, self.memory
        self.rest = RestApp(*parts, gate=gate, tls=self.tls)
        self.grpc = GrpcApp(*parts, gate, self.tls)
        self.metrics_app = MetricsApp(self.metrics, self.settings, self.log, self._length, None, self.tls)

    async def _length(self, _: str) -> int:
        return 7

    async def renew(self, issued: Issued) -> None:
        issued.write(self.folder)
        await self.tls.look()

    def channel(self, issued: Issued | None = None, authority: Authority = AUTHORITY) -> grpc.aio.Channel:
        own = () if issued is None else (issued.key_text.encode(), issued.chain.encode())
        return grpc.aio.secure_channel(
            f"localhost:{self.grpc.port}",
            grpc.ssl_channel_credentials(authority.pem.encode(), *own),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)],
        )

    async def over_rest(
        self, issued: Issued | None, folder: Path, *headers: str, path: str = "/v1/instances/i"
    ) -> tuple[int, bytes]:
        caller = await Caller.connect(self.rest.port, AUTHORITY.trusting(issued, folder))
        try:
            status, _, body = await caller.call(get(path, *headers))
        finally:
            await caller.close()
        return status, body

    async def over_grpc(self, issued: Issued | None, token: str | None = None) -> tuple[str, str]:
        async with self.channel(issued) as channel:
            try:
                await get_instance(channel, token)
            except grpc.aio.AioRpcError as error:
                return error.code().name, error.details() or ""
        return "OK", ""


async def get_instance(channel: grpc.aio.Channel, token: str | None = None) -> Any:
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    call = channel.unary_unary(
        "/workflow.v1.WorkflowEngine/GetInstance",
        request_serializer=pb.GetInstanceRequest.SerializeToString,
        response_deserializer=pb.GetInstanceResponse.FromString,
    )
    return await call(pb.GetInstanceRequest(id="i"), metadata=metadata, timeout=10)


@contextlib.asynccontextmanager
async def secure(folder: Path, lines: str = "", **options: Any) -> AsyncIterator[Secure]:
    door = Secure(folder / "served", lines, **options)
    for each in (door.rest, door.grpc, door.metrics_app):
        await each.start("127.0.0.1", 0)
    try:
        yield door
    finally:
        for other in (door.rest, door.grpc, door.metrics_app):
            await other.drain(0)

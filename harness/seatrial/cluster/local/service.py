"""Service: one address in front of the local replicas."""

from __future__ import annotations

from urllib.parse import urlsplit

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.ability import Service
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.service_proxy import ServiceProxy


class LocalService(Service):
    def __init__(self, foundation: Foundation, replicas: Replicas, token: str | None) -> None:
        self._foundation = foundation
        self._replicas = replicas
        self._token = token
        self._rest: ServiceProxy | None = None
        self._grpc: ServiceProxy | None = None

    async def open(self, *replicas: str) -> Replica:
        if self._rest is not None:
            raise ClusterError("the service is open already; a drill opens it once")
        self._rest, self._grpc = await self._opened(), await self._opened()
        self.lead_to(*replicas)
        at = "127.0.0.1"
        return Replica(
            "service",
            rest_url=f"http://{at}:{self._rest.port}",
            metrics_url=None,
            grpc_address=f"{at}:{self._grpc.port}",
            token=self._token,
        )

    def lead_to(self, *replicas: str) -> None:
        if self._rest is None or self._grpc is None:
            raise ClusterError("the service is not open; open it first")
        addresses = [self._replicas.named(name).address for name in replicas]
        self._rest.lead_to([_port(address.rest_url) for address in addresses])
        self._grpc.lead_to([_port(f"//{address.grpc_address}") for address in addresses])

    async def _opened(self) -> ServiceProxy:
        proxy = ServiceProxy(self._foundation.ports.take())
        await proxy.open()
        self._foundation.before_removal(proxy.close)
        return proxy


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port

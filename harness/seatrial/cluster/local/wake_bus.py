"""WakeBus: a Redis of this machine behind a proxy that all replicas share."""

from __future__ import annotations

import secrets

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import WakeBus
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.redis import RedisServer


class LocalWakeBus(WakeBus):
    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation
        self._server: RedisServer | None = None
        self._wire: Proxy | None = None

    async def attach(self) -> None:
        if self._server is not None:
            raise ClusterError("there is a wake bus already; a drill attaches one once")
        foundation = self._foundation
        self._server = RedisServer(
            foundation.folder / "logs" / "redis.log", password=secrets.token_urlsafe(18)
        )
        foundation.before_removal(self._server.close)
        await self._server.start()
        self._wire = Proxy(foundation.ports.take(), self._server.port)
        await self._wire.open()
        foundation.before_removal(self._wire.close)
        foundation.redis_url = self._server.url(self._wire.port)

    async def stop(self) -> None:
        await self._there().stop()

    async def start(self) -> None:
        await self._there().start()

    async def cut(self) -> int:
        wire = self._wire_there()
        await wire.cut("refuse")
        return wire.cut_connections

    async def mend(self) -> None:
        await self._wire_there().mend()

    def _there(self) -> RedisServer:
        if self._server is None:
            raise ClusterError("there is no wake bus; attach one first")
        return self._server

    def _wire_there(self) -> Proxy:
        if self._wire is None:
            raise ClusterError("there is no wake bus; attach one first")
        return self._wire

"""WakeBus: a Redis of this machine behind a proxy that all replicas share."""

from __future__ import annotations

import secrets

from seatrial.cluster.ability import WakeBus
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.wired import Wired
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.redis import RedisServer


class LocalWakeBus(Wired, WakeBus):
    def __init__(self, foundation: Foundation) -> None:
        super().__init__("wake bus")
        self._foundation = foundation

    async def attach(self) -> None:
        self._refuse_a_second()
        foundation = self._foundation
        server = self._server = RedisServer(
            foundation.folder / "logs" / "redis.log", password=secrets.token_urlsafe(18)
        )
        foundation.before_removal(server.close)
        await server.start()
        self._wire = Proxy(foundation.ports.take(), server.port)
        await self._wire.open()
        foundation.before_removal(self._wire.close)
        foundation.redis_url = server.url(self._wire.port)

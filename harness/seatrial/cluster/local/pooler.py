"""Pooler: PgBouncer in transaction mode between the proxies of the replicas and the database."""

from __future__ import annotations

from seatrial.cluster.ability import Pooler
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.local.wired import Wired
from seatrial.cluster.pgbouncer import PgBouncer
from seatrial.cluster.proxy import Proxy

#: PgBouncer's own, 15 s, is how long it leaves a database alone that refused it once.
LOGIN_RETRY_S = 1


class LocalPooler(Wired, Pooler):
    def __init__(self, foundation: Foundation, replicas: Replicas) -> None:
        super().__init__("pooler")
        self._foundation = foundation
        self._replicas = replicas

    async def attach(self) -> None:
        self._refuse_a_second()
        foundation = self._foundation
        self._wire = Proxy(foundation.ports.take(), foundation.postgres.port)
        await self._wire.open()
        foundation.before_removal(self._wire.close)
        self._server = PgBouncer(
            foundation.postgres,
            foundation.folder / "logs" / "pgbouncer.log",
            settings={"server_login_retry": str(LOGIN_RETRY_S)},
            server_port=self._wire.port,
        )
        foundation.before_removal(self._server.close)
        await self._server.start()
        for replica in self._replicas:
            replica.proxy.lead_to(self._server.port)

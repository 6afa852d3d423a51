"""Pooler: PgBouncer in transaction mode between the proxies of the replicas and the database."""

from __future__ import annotations

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Pooler
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.pgbouncer import PgBouncer
from seatrial.cluster.proxy import Proxy

#: PgBouncer's own, 15 s, is how long it leaves a database alone that refused it once.
LOGIN_RETRY_S = 1


class LocalPooler(Pooler):
    def __init__(self, foundation: Foundation, replicas: Replicas) -> None:
        self._foundation = foundation
        self._replicas = replicas
        self._pgbouncer: PgBouncer | None = None
        self._wire: Proxy | None = None

    async def attach(self) -> None:
        if self._pgbouncer is not None:
            raise ClusterError("there is a pooler already; a drill attaches one once")
        foundation = self._foundation
        self._wire = Proxy(foundation.ports.take(), foundation.postgres.port)
        await self._wire.open()
        foundation.before_removal(self._wire.close)
        self._pgbouncer = PgBouncer(
            foundation.postgres,
            foundation.folder / "logs" / "pgbouncer.log",
            settings={"server_login_retry": str(LOGIN_RETRY_S)},
            server_port=self._wire.port,
        )
        foundation.before_removal(self._pgbouncer.close)
        await self._pgbouncer.start()
        for replica in self._replicas:
            replica.proxy.lead_to(self._pgbouncer.port)

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

    def _there(self) -> PgBouncer:
        if self._pgbouncer is None:
            raise ClusterError("there is no pooler; attach one first")
        return self._pgbouncer

    def _wire_there(self) -> Proxy:
        if self._wire is None:
            raise ClusterError("there is no pooler; attach one first")
        return self._wire

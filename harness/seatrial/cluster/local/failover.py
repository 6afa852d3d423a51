"""Failover: a standby of the database's server, and the proxies that lead the replicas to whichever is the primary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from seatrial.cluster.ability import Failover, Promotion
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import Replicas


class LocalFailover(Failover):
    """An engine that is told both hosts reaches the first server through its proxy, and the second directly."""

    def __init__(self, foundation: Foundation, replicas: Replicas) -> None:
        self._foundation = foundation
        self._replicas = replicas

    async def attach(self, *, synchronous: bool, gives_both_hosts: bool = False) -> None:
        await self._foundation.replicate(synchronous=synchronous, gives_both_hosts=gives_both_hosts)

    async def hold_back(self) -> None:
        await self._foundation.replication.hold_back()

    async def promote(self) -> Promotion:
        promotion = await self._foundation.replication.promote()
        self._foundation.postgres = self._foundation.replication.primary
        return promotion

    async def move(self, *replicas: str) -> None:
        replication = self._foundation.replication
        if self._foundation.gives_both_hosts:
            return
        for replica in map(self._replicas.named, replicas) if replicas else self._replicas:
            replica.proxy.lead_to(replication.primary.port)

    async def rejoin(self, *, lag_s: float = 0.0) -> None:
        await self._foundation.replication.rejoin(lag_s=lag_s)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[str]:
        server = self._foundation.replication.standby
        await server.start(alone=True)
        try:
            yield server.dsn(self._foundation.database)
        finally:
            await server.stop()

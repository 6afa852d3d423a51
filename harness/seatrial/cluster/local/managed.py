"""ManagedFailover: the cluster's database moves to two servers that Patroni looks after."""

from __future__ import annotations

from seatrial.cluster.ability import ManagedFailover
from seatrial.cluster.local.foundation import Foundation


class LocalManagedFailover(ManagedFailover):
    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation

    async def attach(self) -> None:
        await self._foundation.begin_management()

    async def kill_leader(self) -> str:
        return (await self._foundation.managed.kill_leader()).name

    async def until_taken_over(self) -> str:
        managed = self._foundation.managed
        await managed.until_takes_writes()
        return (await managed.until_led()).name

    async def detach(self) -> None:
        await self._foundation.end_management()

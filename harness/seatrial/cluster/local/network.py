"""Partition and Sockets: the proxy between a replica and the database, and the connections that a process opened."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from seatrial.cluster.ability import Partition, Sockets
from seatrial.cluster.broker import CutMode
from seatrial.cluster.local.replicas import Replicas


class LocalPartition(Partition):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def cut(self, replica: str, mode: CutMode, *, delay_s: float = 0.0) -> None:
        await self._replicas.named(replica).proxy.cut(mode, delay_s)

    async def mend(self, replica: str) -> None:
        await self._replicas.named(replica).proxy.mend()

    def dropped_bytes(self, replica: str) -> int:
        return self._replicas.named(replica).proxy.dropped_bytes

    def cut_connections(self, replica: str) -> int:
        return self._replicas.named(replica).proxy.cut_connections


class LocalSockets(Sockets):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def peers(self, replica: str) -> Sequence[str]:
        found = self._replicas.named(replica)
        if not found.process.running:
            return []
        sockets = psutil.Process(found.process.pid).net_connections(kind="tcp")
        listening = {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}
        return [
            f"{each.raddr.ip}:{each.raddr.port}"
            for each in sockets
            if each.raddr and each.laddr.port not in listening and each.raddr.port != found.proxy.port
        ]

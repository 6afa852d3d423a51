"""Disk: a small file system under the data of the run's server."""

from __future__ import annotations

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Disk
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.small_disk import SmallDisk


class LocalDisk(Disk):
    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation
        self._disk: SmallDisk | None = None

    async def limit(self, free_bytes: int) -> None:
        if self._disk is not None:
            raise ClusterError("the database's disk is limited already; a drill does that once")
        self._disk = SmallDisk(self._foundation.postgres)
        self._foundation.before_removal(self._disk.take_away)
        await self._disk.put(free_bytes)

    async def fill(self) -> int:
        return await self._there().fill()

    async def empty(self) -> None:
        await self._there().empty()

    def _there(self) -> SmallDisk:
        if self._disk is None:
            raise ClusterError("the database's disk is as large as this machine's; limit it first")
        return self._disk

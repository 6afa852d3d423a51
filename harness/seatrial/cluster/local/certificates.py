"""Certificates: the files that all replicas of a cluster have been given."""

from __future__ import annotations

import asyncio

from seatrial.cluster.ability import Certificates
from seatrial.cluster.local.doors import Doors


class LocalCertificates(Certificates):
    """Raises ClusterError in a cluster without TLS."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def renew(self) -> str:
        return await asyncio.to_thread(self._doors.certificate.renew)

    async def spoil(self) -> str:
        return await asyncio.to_thread(self._doors.certificate.spoil)

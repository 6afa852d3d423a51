"""Database: the server that the run's clusters share, and the sessions that come from a pod."""

from __future__ import annotations

from typing import Literal

from psycopg import sql

from seatrial.cluster.ability import Database
from seatrial.cluster.kind.installation import Installation
from seatrial.cluster.sessions import terminate_sessions


class KindDatabase(Database):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def dsn(self) -> str:
        """The superuser's, past the engine. Holds a password."""
        return self._installation.shared.server.dsn(self._installation.database)

    async def crash(self) -> None:
        await self._installation.shared.server.crash()

    async def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        if mode == "immediate":
            await self._installation.shared.server.crash()
        await self._installation.shared.server.stop()

    async def start(self) -> None:
        await self._installation.shared.server.start()

    async def terminate_sessions(self, replica: str) -> int:
        address = self._installation.pod(replica).address
        return await terminate_sessions(self.dsn(), replica, sql.SQL("client_addr = %s::inet"), address)

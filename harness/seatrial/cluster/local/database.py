"""Database: the server's process, and the sessions that came through a replica's proxy."""

from __future__ import annotations

from typing import Literal

from psycopg import sql

from seatrial.cluster.ability import Database
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.sessions import terminate_sessions


class LocalDatabase(Database):
    def __init__(self, foundation: Foundation, replicas: Replicas) -> None:
        self._foundation = foundation
        self._replicas = replicas

    def dsn(self) -> str:
        """The superuser's, over the Unix socket: sees all sessions, holds no secret."""
        return self._foundation.dsn()

    async def crash(self) -> None:
        await self._foundation.postgres.crash()

    async def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        await self._foundation.postgres.stop(mode)

    async def start(self) -> None:
        await self._foundation.postgres.start()

    async def terminate_sessions(self, replica: str) -> int:
        ports = list(self._replicas.named(replica).proxy.database_side_ports())
        return await terminate_sessions(self.dsn(), replica, sql.SQL("client_port = ANY(%s)"), ports)

"""Database: the project's PostgreSQL in its container, and the sessions that come from a replica's."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Database
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.docker import Container
from seatrial.cluster.compose.project import DATABASE
from seatrial.cluster.sessions import terminate_sessions
from seatrial.deadline import until_passes

_PORT = 5432
_READY_WITHIN_S = 60.0
_LOOK_INTERVAL_S = 0.05
_CONNECT_TIMEOUT_S = 2
_STOP_WITHIN_S = 120.0


class ComposeDatabase(Database):
    """`find` first, when its container runs. Its address may change with each start."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._dsn = ""
        self._is_down = False
        deployment.heal_with(self._heal)

    async def find(self) -> None:
        """How to reach it as its superuser, from the container's own settings. Raises ClusterError."""
        found = await self._deployment.of_service(DATABASE)
        user = found.env.get("POSTGRES_USER") or "postgres"
        name = found.env.get("POSTGRES_DB") or user
        password = await self._password(found)
        address = next(iter(found.addresses.values()), None)
        if address is None:
            raise ClusterError(f"{found.name} has no address; is it running?")
        self._deployment.docker.secrets.add(password)
        user, password, name = (quote(each, safe="") for each in (user, password, name))
        self._dsn = f"postgresql://{user}:{password}@{address}:{_PORT}/{name}"

    def dsn(self) -> str:
        """The superuser's, past the engine. Holds a password."""
        return self._dsn

    async def crash(self) -> None:
        self._is_down = True
        await self._deployment.docker.run("kill", (await self._deployment.of_service(DATABASE)).id)

    async def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        """`immediate` is its end without warning: both need recovery."""
        if mode == "immediate":
            await self.crash()
            return
        self._is_down = True
        found = await self._deployment.of_service(DATABASE)
        await self._deployment.docker.run("stop", found.id, within_s=_STOP_WITHIN_S)

    async def start(self) -> None:
        found = await self._deployment.of_service(DATABASE)
        if not found.is_running:
            await self._deployment.docker.run("start", found.id)
        await self.find()
        await until_passes(
            self._refusal,
            within_s=_READY_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda cause: ClusterError(
                f"{DATABASE} does not answer after {_READY_WITHIN_S:g} s: {cause}"
            ),
        )
        self._is_down = False

    async def terminate_sessions(self, replica: str) -> int:
        addresses = list((await self._deployment.container(replica)).addresses.values())
        return await terminate_sessions(
            self.dsn(), replica, sql.SQL("client_addr = ANY(%s::inet[])"), addresses
        )

    async def _refusal(self) -> str | None:
        try:
            async with await psycopg.AsyncConnection.connect(
                self._dsn, connect_timeout=_CONNECT_TIMEOUT_S
            ) as connection:
                await connection.execute("SELECT 1")
        except psycopg.OperationalError as err:
            return str(err).strip().splitlines()[0]
        return None

    async def _password(self, found: Container) -> str:
        if path := found.env.get("POSTGRES_PASSWORD_FILE"):
            return (await self._deployment.docker.run("exec", found.id, "cat", path)).rstrip("\n")
        return found.env.get("POSTGRES_PASSWORD", "")

    async def _heal(self) -> None:
        if self._is_down:
            await self.start()

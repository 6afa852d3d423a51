"""What the replicas of one local cluster share: a database of its own, free ports, a reaper, an HTTP session."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ParamSpec

import aiohttp

from seatrial.cluster import ClusterError
from seatrial.cluster.patroni import Patroni
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.replication import Replication

Parameters = ParamSpec("Parameters")


class Foundation:
    """`lay` ... `remove`. Without a shared `postgres` it starts and ends a server of its own."""

    def __init__(self, folder: Path, postgres: PostgresServer | None) -> None:
        self.folder = folder.resolve()
        self.postgres = postgres or PostgresServer(self.folder / "logs" / "postgres.log")
        self.database = f"trial_{secrets.token_hex(4)}"
        self.ports = Ports()
        self.reaper: Reaper
        self.session: aiohttp.ClientSession
        self._managed: Patroni | None = None
        self._replication: Replication | None = None
        self.gives_both_hosts = False
        self.redis_url = ""
        """Of the wake bus that engines are to use that are started from now on; holds its password."""
        self._is_own_postgres = postgres is None
        self._is_laid = False
        self._stack = AsyncExitStack()

    async def lay(self) -> None:
        """Nothing happens when it was done already; `remove` undoes it in reverse order."""
        if self._is_laid:
            return
        self._is_laid = True
        self._stack.callback(self.ports.close)
        if self._is_own_postgres:
            self._stack.push_async_callback(self.postgres.close)
        # Also repairs a shared server that a drill left crashed.
        await self.postgres.start()
        await self.postgres.create_database(self.database)
        if not self._is_own_postgres:
            self._stack.push_async_callback(self._drop_database)
        self._stack.push_async_callback(self.end_management)
        self._stack.push_async_callback(self._end_replication)
        self.reaper = Reaper()
        self._stack.callback(self.reaper.close)
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession())

    async def begin_management(self) -> None:
        """The database is now one of two servers under Patroni. Raises ClusterError."""
        if self._managed is not None:
            raise ClusterError("the database is under a failover manager already; detach it first")
        self._managed = Patroni(self.folder / "logs", password=self.postgres.secret)
        await self._managed.start()
        await self._managed.create_database(self.database)

    @property
    def managed(self) -> Patroni:
        """Raises ClusterError."""
        if self._managed is None:
            raise ClusterError("the database has no failover manager; attach one first")
        return self._managed

    async def end_management(self) -> None:
        """Safe to call at any time."""
        managed, self._managed = self._managed, None
        if managed is not None:
            await managed.close()

    def dsn(self) -> str:
        """The superuser's at the database, wherever it is; holds no secret."""
        return (self._managed or self.postgres).dsn(self.database)

    async def replicate(self, *, synchronous: bool, gives_both_hosts: bool) -> None:
        """Gives the server a standby. With `gives_both_hosts` the engines that are started from now on are told both
        addresses, and find out which is the primary. Raises ClusterError.
        """
        if self._replication is not None:
            raise ClusterError("the database has a standby already; a drill attaches one once")
        self._replication = Replication(self.postgres, self.folder / "logs" / "standby.log")
        self.gives_both_hosts = gives_both_hosts
        await self._replication.attach(synchronous=synchronous)

    @property
    def replication(self) -> Replication:
        """Raises ClusterError."""
        if self._replication is None:
            raise ClusterError("the database has no standby; attach one first")
        return self._replication

    def engine_dsn(self, proxy_port: int) -> str:
        """Through the replica's proxy, or to both managed servers directly. Holds the password: never log it."""
        if self._managed is not None:
            return self._managed.engine_dsn(self.database)
        ports = [proxy_port]
        if self.gives_both_hosts:
            ports.append(self.replication.second.port)
        return self.postgres.engine_dsn(self.database, *ports)

    async def remove(self) -> None:
        """Safe to call twice; calls what was given to `before_removal` first, the last one first."""
        await self._stack.aclose()
        self._is_laid = False

    def before_removal(
        self,
        undo: Callable[Parameters, Awaitable[object]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> None:
        self._stack.push_async_callback(undo, *args, **kwargs)

    async def _end_replication(self) -> None:
        replication, self._replication = self._replication, None
        self.gives_both_hosts = False
        if replication is not None:
            self.postgres = replication.first
            await replication.detach()

    async def _drop_database(self) -> None:
        await self.postgres.start()
        await self.postgres.drop_database(self.database)

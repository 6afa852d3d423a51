"""One replica as the chart says it is to run, on a database of its own, with its log and its rows in reach."""

from __future__ import annotations

import itertools
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, cast

import psycopg
from engine_client import EngineClient
from psycopg.rows import dict_row
from workflow import Json

from seatrial.cluster import ClusterSpec
from seatrial.cluster.local import LocalCluster
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.values import merge
from seatrial.environment import engine_variables

REPLICA = "replica-0"
QUICK = {
    "WINDLASS_LEASE_SWEEP_SECONDS": "0.2",
    "WINDLASS_TIMER_SWEEP_SECONDS": "0.1",
    "WINDLASS_NODE_HEARTBEAT_SECONDS": "1",
}
"""The contract's pauses of 15 and 5 s, shortened: what is due is found the same way."""


async def rows(dsn: str, query: str, *values: object) -> list[Json]:
    """What the superuser sees; the engine is told nothing."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(query, values or None)
        return await cursor.fetchall() if cursor.description else []


def log_lines(text: str) -> list[Json]:
    """Every line must be one JSON object."""
    return [cast(Json, json.loads(line)) for line in text.splitlines()]


class EngineOnTrial:
    """`variables` are environment variables, set the way an operator sets them: as the chart's extraEnv."""

    def __init__(
        self, server: PostgresServer, folder: Path, *, values: Json | None = None, **variables: str
    ) -> None:
        self.secret = server.secret
        told = merge(values or {}, engine_variables(**QUICK | variables))
        self.cluster = LocalCluster(ClusterSpec(1, told, folder=folder), postgres=server)
        self.client: EngineClient
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.cluster.up()
        self._stack.push_async_callback(self.cluster.down)
        (replica,) = self.cluster.replicas()
        self.client = await self._stack.enter_async_context(
            EngineClient(replica.rest_url, replica.metrics_url or "")
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def rows(self, query: str, *values: object) -> list[Json]:
        return await rows(self.cluster.dsn(), query, *values)

    def log(self, **attributes: Any) -> list[Json]:
        """The lines that have all of these attributes."""
        text = self.cluster.log_path(REPLICA).read_text()
        return [line for line in log_lines(text) if attributes.items() <= line.items()]

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self.cluster.stop(REPLICA)


class StartEngine:
    """Callable: an engine on an empty database."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._stack = AsyncExitStack()
        self._numbers = itertools.count()

    async def __call__(self, *, values: Json | None = None, **variables: str) -> EngineOnTrial:
        folder = self._folder / str(next(self._numbers))
        engine = EngineOnTrial(self._server, folder, values=values, **variables)
        return await self._stack.enter_async_context(engine)

    async def close(self) -> None:
        await self._stack.aclose()

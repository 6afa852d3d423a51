"""The states of an engine that a caller can meet, each brought about once and kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import RunWindlass
from workflow import END

from patience import eventually
from seatrial.cluster.kafka.server import KafkaServer
from seatrial.cluster.postgres import PostgresServer

BODY_BYTES_MAX = 64 * 1024
#: Long enough for a busy machine to answer what is not stuck.
REQUEST_TIMEOUT_S = 0.4
QUEUE_S = 0.5
#: Longer than the tests run.
FOR_EVER_S = "3600"
#: Reads metrics only, over another port: of the API, nothing but its document.
METRICS_TOKEN = secrets.token_urlsafe()


class Situations:
    """Each property is an engine of its own on a database of its own."""

    def __init__(self, server: PostgresServer, run: RunWindlass, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._run = run
        self._stack = AsyncExitStack()
        self._made: dict[str, asyncio.Task[EngineClient]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _once(self, name: str, make: Callable[[], Awaitable[EngineClient]]) -> EngineClient:
        if name not in self._made:
            self._made[name] = asyncio.ensure_future(make())
        return await self._made[name]

    async def _database(self) -> tuple[str, str]:
        """The engine's and the superuser's address of an empty one."""
        name = f"t_{secrets.token_hex(6)}"
        await self._server.create_database(name)
        return self._server.engine_dsn(name), self._server.dsn(name)

    async def well(self) -> EngineClient:
        """Nothing is wrong."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            _, client = await self._run.serving(
                WE_POSTGRES_DSN=dsn,
                WINDLASS_BODY_BYTES_MAX=str(BODY_BYTES_MAX),
                WINDLASS_LONG_POLL_SECONDS_MAX="0.05",
            )
            return client

        return await self._once("well", make)

    async def hurried(self) -> EngineClient:
        """It does not wait long for a call to arrive."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            _, client = await self._run.serving(WE_POSTGRES_DSN=dsn, WINDLASS_READ_TIMEOUT_SECONDS="0.5")
            return client

        return await self._once("hurried", make)

    async def scheduler(self) -> EngineClient:
        """A node that takes no calls of the API."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            _, client = await self._run.serving("scheduler", WE_POSTGRES_DSN=dsn)
            return client

        return await self._once("scheduler", make)

    async def full(self) -> EngineClient:
        """Its one connection is busy with a call that does not end: half of its body has come."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            _, client = await self._run.serving(
                WE_POSTGRES_DSN=dsn, WINDLASS_CONNECTIONS_MAX="1", WINDLASS_READ_TIMEOUT_SECONDS=FOR_EVER_S
            )
            await self._send_and_stay(client, "/v1/instances", b"{", announced_bytes=2)

            async def is_full() -> bool:
                return (await client.get("/healthz")).status == 503

            await eventually(is_full)
            return client

        return await self._once("full", make)

    async def overloaded(self) -> EngineClient:
        """Nobody can write, and the calls that would have waited longer than they may for this to end."""

        async def make() -> EngineClient:
            dsn, superuser_dsn = await self._database()
            _, client = await self._run.serving(
                WE_POSTGRES_DSN=dsn,
                WINDLASS_QUEUE_SECONDS_MAX=str(QUEUE_S),
                WINDLASS_REQUEST_TIMEOUT_SECONDS=FOR_EVER_S,
                WINDLASS_DATABASE_TIMEOUT_SECONDS=FOR_EVER_S,
            )
            start = json.dumps({"definitionId": (await client.define(END)).id}).encode()
            await self._lock(superuser_dsn, ["workflow_instance"], "EXCLUSIVE")

            async def is_overloaded() -> bool:
                # The first are with the database, those after them wait.
                await self._send_and_stay(client, "/v1/instances", start)
                return bool((await client.get("/health/detailed")).json["lanes"]["waitSeconds"] > QUEUE_S)

            await eventually(is_overloaded)
            return client

        return await self._once("overloaded", make)

    async def _send_and_stay(
        self, engine: EngineClient, path: str, body: bytes, announced_bytes: int | None = None
    ) -> None:
        """A POST whose caller waits for the answer as long as the situations last."""
        url = urlsplit(engine.rest_url)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        self._stack.callback(writer.close)
        size = len(body) if announced_bytes is None else announced_bytes
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), size, body)
        )
        await writer.drain()

    async def guarded(self) -> EngineClient:
        """It asks for tokens."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            file = self._folder / "tokens.toml"
            digest = hashlib.sha256(METRICS_TOKEN.encode()).hexdigest()
            file.write_text(f'"scraper" = {{ role = "metrics", sha256 = "{digest}" }}\n', encoding="utf-8")
            _, client = await self._run.serving(WE_POSTGRES_DSN=dsn, WINDLASS_TOKENS_FILE=str(file))
            return client

        return await self._once("guarded", make)

    async def by_broker(self) -> EngineClient:
        """Its jobs travel through a broker, a real one."""

        async def make() -> EngineClient:
            dsn, _ = await self._database()
            broker = await self._stack.enter_async_context(KafkaServer(self._folder / "kafka.log"))
            seeds = broker.kafka_values(secured=False)["seedBrokers"]
            _, client = await self._run.serving(
                WE_POSTGRES_DSN=dsn,
                WE_DISPATCH_MODE="kafka_outbox",
                WE_KAFKA_SEED_BROKERS=seeds,
                WE_KAFKA_TRANSPORT="plaintext",
            )
            return client

        return await self._once("by_broker", make)

    async def broken(self) -> EngineClient:
        """Its tables are gone: every statement fails in a way that is nobody's fault but the engine's."""

        async def make() -> EngineClient:
            dsn, superuser_dsn = await self._database()
            _, client = await self._run.serving(WE_POSTGRES_DSN=dsn)
            for table in await self._tables(superuser_dsn):
                await rows(superuser_dsn, f"ALTER TABLE {table} RENAME TO gone_{table}")
            return client

        return await self._once("broken", make)

    async def stuck(self) -> EngineClient:
        """Its tables are locked by another: nothing that looks at them ends in time."""

        async def make() -> EngineClient:
            dsn, superuser_dsn = await self._database()
            _, client = await self._run.serving(
                WE_POSTGRES_DSN=dsn,
                WINDLASS_REQUEST_TIMEOUT_SECONDS=str(REQUEST_TIMEOUT_S),
                # Those that were given up do not keep later ones from waiting.
                WINDLASS_QUEUE_SECONDS_MAX=FOR_EVER_S,
                WINDLASS_LONG_POLL_SECONDS_MAX="0.1",
            )
            await self._lock(superuser_dsn, await self._tables(superuser_dsn), "ACCESS EXCLUSIVE")

            async def is_stuck() -> bool:
                return (await client.get("/ready")).status == 504

            # A readiness that was just found is told for half a second.
            await eventually(is_stuck)
            return client

        return await self._once("stuck", make)

    async def _lock(self, superuser_dsn: str, tables: Sequence[str], mode: str) -> None:
        blocker = await psycopg.AsyncConnection.connect(superuser_dsn)
        self._stack.push_async_callback(blocker.close)
        await blocker.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE")

    @staticmethod
    async def _tables(dsn: str) -> list[str]:
        found = await rows(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [str(row["tablename"]) for row in found]

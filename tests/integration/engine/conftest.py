"""The engine's parts against a real PostgreSQL: one server for the session, a fresh database for each test."""

from __future__ import annotations

import io
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from kafka_case import KafkaCase
from nodes import Boot, Running

from kafka_broker import CLIENTS, KafkaBroker
from seatrial.cluster.postgres import PostgresServer
from windlass.app import Node
from windlass.config import settings_from_env
from windlass.telemetry.log import Log

NO_FILE = Path("/nonexistent/engine.yaml")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(server: PostgresServer) -> AsyncIterator[str]:
    name = f"t_{secrets.token_hex(6)}"
    await server.create_database(name)
    yield server.engine_dsn(name)
    await server.drop_database(name)


@pytest_asyncio.fixture(loop_scope="session")
async def superuser(server: PostgresServer, dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """May switch triggers off and truncate; on the test's database."""
    connection = await asyncpg.connect(server.dsn(urlsplit(dsn).path.removeprefix("/")))
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def boot(dsn: str) -> AsyncIterator[Boot]:
    """Starts a node on the test's database; variables as in the environment. All are stopped at the end."""
    async with AsyncExitStack() as stack:
        count = 0

        async def one(**variables: str) -> Running:
            nonlocal count
            count += 1
            env = {
                "WE_POSTGRES_DSN": dsn,
                "WE_REST_PORT": "0",
                "WE_GRPC_PORT": "0",
                "WE_METRICS_PORT": "0",
                "DB_MAX_CONNS": "6",
                "WINDLASS_NODE_NAME": f"node-{count}",
                "WINDLASS_SHUTDOWN_GRACE_SECONDS": "5",
                **variables,
            }
            settings = settings_from_env(env, NO_FILE)
            stream = io.BytesIO()
            node = Node("serve", settings, Log(settings.log_level, stream))
            await node._start()
            stack.push_async_callback(node._shut_down)
            return Running(node, stream)

        yield one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    """One for all tests: each has job types, and so topics, of its own. Who stops it starts it again."""
    async with KafkaBroker(tmp_path_factory.mktemp("kafka") / "kafka.log") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def case(request: pytest.FixtureRequest, boot: Boot, broker: KafkaBroker) -> KafkaCase:
    """By librdkafka, or by the client that a test names as the fixture's parameter."""
    return KafkaCase(boot, broker, getattr(request, "param", CLIENTS[0]))


@pytest_asyncio.fixture(loop_scope="session")
async def one(boot: Boot) -> Running:
    return await boot()

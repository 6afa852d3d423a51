"""Black box: real processes of the chart's own command against a real PostgreSQL, spoken to over the wire alone."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial, StartEngine
from engine_process import RunWindlass

from kafka_broker import KafkaBroker
from seatrial.cluster.postgres import PostgresServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    """Plaintext and secured; topics are the tests' own."""
    async with KafkaBroker(tmp_path_factory.mktemp("kafka") / "kafka.log") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def on_trial(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EngineOnTrial]:
    """The one engine that most tests share: each has definitions of its own, and leaves it as it found it."""
    async with EngineOnTrial(server, tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="session")
def engine(on_trial: EngineOnTrial) -> EngineClient:
    return on_trial.client


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(server: PostgresServer) -> AsyncIterator[str]:
    """The engine role's, on an empty database of this test's own."""
    name = f"t_{secrets.token_hex(6)}"
    await server.create_database(name)
    yield server.engine_dsn(name)
    await server.drop_database(name)


@pytest_asyncio.fixture(loop_scope="session")
async def start_engine(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StartEngine]:
    """Brings up engines of this test's own, each on an empty database; all are gone at its end."""
    starter = StartEngine(server, tmp_path_factory.mktemp("engine"))
    yield starter
    await starter.close()


@pytest_asyncio.fixture(loop_scope="session")
async def windlass(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunWindlass]:
    """Runs the program with an environment of the test's own."""
    runner = RunWindlass(tmp_path_factory.mktemp("windlass"), secret=server.secret)
    yield runner
    await runner.close()

"""Engines in the states in which each documented answer is given; all are real processes on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from engine_process import RunWindlass
from situations import Situations

from seatrial.cluster.postgres import PostgresServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def situations(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Situations]:
    runner = RunWindlass(tmp_path_factory.mktemp("windlass"), secret=server.secret)
    async with Situations(server, runner, tmp_path_factory.mktemp("situations")) as opened:
        yield opened
    await runner.close()

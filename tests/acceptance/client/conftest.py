"""One engine with both doors open, and a client for each."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from doors import Doors
from engine_process import RunWindlass

from seatrial.cluster.postgres import PostgresServer
from windlass_client import Client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def doors(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    name = f"client_{secrets.token_hex(6)}"
    await server.create_database(name)
    runner = RunWindlass(tmp_path_factory.mktemp("windlass"), secret=server.secret)
    process, engine = await runner.serving(
        WE_POSTGRES_DSN=server.engine_dsn(name), WINDLASS_LEASE_SWEEP_SECONDS="0.1"
    )
    grpc_port = str(process.log(msg="engine: gRPC listening")[0]["addr"]).removeprefix(":")
    yield Doors(process.rest_url, f"grpc://127.0.0.1:{grpc_port}", engine)
    await runner.close()


@pytest.fixture(params=["rest", "grpc"])
def address(doors: Doors, request: pytest.FixtureRequest) -> str:
    return doors.rest if request.param == "rest" else doors.grpc


@pytest_asyncio.fixture(loop_scope="session")
async def client(address: str) -> AsyncIterator[Client]:
    async with Client(address) as opened:
        yield opened

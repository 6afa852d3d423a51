"""Few open files are allowed: what the engine itself needs is kept, and callers get the rest."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from engine_process import WINDLASS, EngineProcess, RunWindlass
from workflow import END, service

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT = 128
MANY = 300
IDLE = 60
"""Three times as many as there are places: a new one is closed for others when it has been silent for a second."""
POOL = "8"
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def limited(server: PostgresServer, folder: Path, ulimit: str) -> RunWindlass:
    command = ("/bin/sh", "-c", f'{ulimit} && exec "$0" "$@"', str(WINDLASS))
    return RunWindlass(folder, secret=server.secret, command=command)


@pytest_asyncio.fixture(loop_scope="session")
async def hard(server: PostgresServer, tmp_path: Path) -> AsyncIterator[RunWindlass]:
    runner = limited(server, tmp_path, f"ulimit -n {LIMIT}")
    yield runner
    await runner.close()


@pytest_asyncio.fixture(loop_scope="session")
async def soft(server: PostgresServer, tmp_path: Path) -> AsyncIterator[RunWindlass]:
    runner = limited(server, tmp_path, f"ulimit -Sn {LIMIT}")
    yield runner
    await runner.close()


@contextlib.asynccontextmanager
async def idle_connections(port: int, count: int) -> AsyncIterator[list[Opened]]:
    """All of them at once, as when a balancer's pool comes back."""
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(count)))
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in opened), return_exceptions=True)


async def healthy(connection: Opened) -> bool:
    """Leaves it open."""
    reader, writer = connection
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    return (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 200")


def open_files(process: EngineProcess) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


async def test_idle_connections_give_way_to_callers_and_the_database(hard: RunWindlass, dsn: str) -> None:
    process, engine = await hard.serving(WE_POSTGRES_DSN=dsn, DB_MAX_CONNS=POOL)
    (line,) = process.log(msg="config: warning")
    assert f"may open only {LIMIT} files" in line["warning"]
    async with idle_connections(process.rest_port, IDLE) as idle:
        for _ in range(5):
            async with idle_connections(process.rest_port, 1) as (newcomer,):
                assert await healthy(newcomer)
        assert (await engine.get("/ready")).status == 200
        workflow = await engine.define(service("a"), END)
        # As many calls at once as the pool has connections: none may lack its own.
        instances = await asyncio.gather(*(workflow.start() for _ in range(8)))
        for _ in instances:
            await workflow.work_off("a")
        assert [await engine.status(instance) for instance in instances] == ["COMPLETED"] * len(instances)
        assert "workflow_instances_started_total" in await engine.metrics()
        closed = [reader.at_eof() for reader, _ in idle]
        first_kept = closed.index(False) if False in closed else len(closed)
        assert first_kept > IDLE / 2, "the longest idle are closed"
        assert open_files(process) < LIMIT
    assert process.running
    assert process.log(level="ERROR") == []


async def test_the_newest_of_many_idle_connections_is_served(hard: RunWindlass, dsn: str) -> None:
    process, _ = await hard.serving(WE_POSTGRES_DSN=dsn, DB_MAX_CONNS=POOL)
    async with idle_connections(process.rest_port, IDLE) as idle:
        await eventually(lambda: sum(reader.at_eof() for reader, _ in idle) > IDLE / 2)
        assert await healthy(idle[-1])


async def test_idle_grpc_connections_leave_rest_and_the_database_alone(hard: RunWindlass, dsn: str) -> None:
    process, engine = await hard.serving(WE_POSTGRES_DSN=dsn, DB_MAX_CONNS=POOL)
    port = int(process.log(msg="engine: gRPC listening")[0]["addr"].removeprefix(":"))
    async with idle_connections(port, IDLE):
        assert (await engine.get("/ready")).status == 200
        workflow = await engine.define(service("a"), END)
        await asyncio.gather(*(workflow.start() for _ in range(8)))
        assert open_files(process) < LIMIT
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), 20)


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8192, reason="the hard limit of this machine is low too"
)
async def test_a_low_soft_limit_is_raised(soft: RunWindlass, dsn: str) -> None:
    process, engine = await soft.serving(WE_POSTGRES_DSN=dsn, DB_MAX_CONNS=POOL)
    assert process.log(msg="config: warning") == []
    async with idle_connections(process.rest_port, MANY) as idle:
        assert all(await asyncio.gather(*map(healthy, idle)))
        assert (await engine.get("/ready")).status == 200


async def test_a_limit_too_low_for_the_engine_itself_refuses_the_boot(hard: RunWindlass, dsn: str) -> None:
    text = await (await hard("serve", WE_POSTGRES_DSN=dsn, DB_MAX_CONNS="100")).refused_to_boot()
    assert f"may open {LIMIT} files" in text
    assert "raise the hard limit of open files" in text
    assert "lower DB_MAX_CONNS" in text

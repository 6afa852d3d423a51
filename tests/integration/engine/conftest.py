"""The engine's parts against a real PostgreSQL: one server for the session, a fresh database for each test."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from seatrial.cluster.postgres import PostgresServer
from windlass import wire
from windlass.app import Node
from windlass.config import settings_from_env
from windlass.observe import Log

NO_FILE = Path("/nonexistent/engine.yaml")


def raw(**values: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(values).encode())


def service(id_: str, next_: str | None, **more: Any) -> dict[str, Any]:
    step = {"id": id_, "name": id_, "type": "SERVICE_TASK", "jobType": f"do-{id_}", **more}
    return step | ({"nextStep": next_} if next_ else {})


END = {"id": "end", "name": "end", "type": "END"}


class Running:
    """A node in this process, its log, and short words for what tests do all the time."""

    def __init__(self, node: Node, log_stream: io.BytesIO) -> None:
        self.node = node
        self.engine = node.engine
        self.database = node.database
        self._log_stream = log_stream

    def log_lines(self) -> list[dict[str, Any]]:
        self.node.log.flush()
        return [json.loads(line) for line in self._log_stream.getvalue().splitlines()]

    async def define(self, *steps: dict[str, Any], id_: str = "d", **top: Any) -> int:
        document = {"id": id_, "name": id_, "steps": [{"name": s["id"], **s} for s in steps], **top}
        return (await self.engine.upload_definition(json.dumps(document).encode())).version

    async def start(self, id_: str = "d", **variables: Any) -> wire.InstanceView:
        return await self.engine.start_instance(
            definition_id=id_, version=None, variables=raw(**variables), business_key=None
        )

    async def poll(
        self, *job_types: str, worker: str = "w", most: int = 10, lease_s: float = 30.0, wait_s: float = 0.0
    ) -> Sequence[wire.JobView]:
        return await self.engine.poll_jobs(
            worker_id=worker, job_types=job_types, max_jobs=most, lease_s=lease_s, wait_s=wait_s
        )

    async def complete(
        self, job: wire.JobView | str, worker: str = "w", token: str | None = None, **variables: Any
    ) -> None:
        job_id = job if isinstance(job, str) else job.id
        await self.engine.complete_job(
            job_id, worker_id=worker, lease_token=token, variables=raw(**variables)
        )

    async def fail(
        self, job: wire.JobView, worker: str = "w", token: str | None = None, *, retryable: bool = True
    ) -> None:
        await self.engine.fail_job(
            job.id, worker_id=worker, lease_token=token, error_message="broke", retryable=retryable
        )

    async def rows(self, text: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.fetch(text, *arguments)]

    async def status(self, instance_id: str) -> str:
        return (await self.engine.get_instance(instance_id)).status

    async def variables(self, instance_id: str) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(bytes((await self.engine.get_instance(instance_id)).variables))
        return decoded


async def eventually(probe: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Returns when the probe says yes; fails the test when it has not in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await probe():
        assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.02)


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


Boot = Callable[..., Awaitable[Running]]


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


@pytest_asyncio.fixture(loop_scope="session")
async def one(boot: Boot) -> Running:
    return await boot()

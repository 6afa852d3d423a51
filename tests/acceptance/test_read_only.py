"""Contract 1.8 and 9.3: a standby is no database to boot a new schema on, nor to call oneself ready with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import EngineProcess, RunWindlass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from workflow import END, service

from patience import eventually
from seatrial.cluster.postgres import PostgresServer
from windlass.store.connect import STANDBY_SESSION_MAX_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

STANDBY = "the database takes no writes: it is a standby (in recovery); point WE_POSTGRES_DSN at the primary"
READY = {"ready": True, "reasons": []}


#: The pauses of what writes without being called.
WRITERS = (
    "WINDLASS_NODE_HEARTBEAT_SECONDS",
    "WINDLASS_LEASE_SWEEP_SECONDS",
    "WINDLASS_TIMER_SWEEP_SECONDS",
)


async def grpc_health(process: EngineProcess) -> int:
    (listening,) = process.log(msg="engine: gRPC listening")
    async with grpc.aio.insecure_channel(f"127.0.0.1{listening['addr']}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        return int((await health.Check(health_pb2.HealthCheckRequest(), timeout=5)).status)


async def is_ready(engine: EngineClient) -> bool:
    return bool((await engine.get("/ready")).json == READY)


class Switchable:
    """A server of the test's own, which may come back as a standby with nobody to follow, and be promoted."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.dsn = server.engine_dsn("d")

    async def demote(self) -> None:
        await self.server.stop()
        (self.server.folders[0] / "data/standby.signal").touch()
        await self.server.start()
        assert await rows(self.server.dsn(), "SELECT pg_is_in_recovery() AS so") == [{"so": True}]

    async def promote(self) -> None:
        await rows(self.server.dsn(), "SELECT pg_promote()")


@pytest_asyncio.fixture(loop_scope="session")
async def switchable(tmp_path: Path) -> AsyncIterator[Switchable]:
    async with PostgresServer(tmp_path / "postgres.log") as server:
        await server.create_database("d")
        yield Switchable(server)


async def test_a_demoted_server_makes_the_engine_unready_until_it_is_promoted(
    windlass: RunWindlass, switchable: Switchable
) -> None:
    variables = {
        "WE_POSTGRES_DSN": switchable.dsn,
        "DB_MIN_CONNS": "2",
        "WINDLASS_DATABASE_TIMEOUT_SECONDS": "1",
    }
    process, engine = await windlass.serving(**variables)
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    assert (await engine.get("/ready")).json == READY

    await switchable.demote()

    async def is_told() -> bool:
        answer = await engine.get("/ready")
        return answer.status == 503 and STANDBY in " ".join(answer.json["reasons"])

    await eventually(is_told)
    refused = await engine.post("/v1/instances", {"definitionId": workflow.id})
    refused.refused(503, "unavailable")
    assert "takes no writes" in refused.json["reason"]
    # Both ways in which a kubelet may ask whether to restart it.
    assert (await engine.get("/healthz")).status == 200
    assert await grpc_health(process) == health_pb2.HealthCheckResponse.SERVING

    # A boot on the schema as it must be waits for the promotion too; it says why, and writes nothing.
    second, beside = await windlass.serving(**variables, WINDLASS_NODE_NAME="second")
    answer = await beside.get("/ready")
    assert answer.status == 503
    assert STANDBY in " ".join(answer.json["reasons"])
    lost = (await eventually(lambda: second.log(msg="database: unreachable", level="WARN")))[0]
    assert STANDBY in lost["err"]
    migrated = await windlass("migrate", WE_POSTGRES_DSN=switchable.dsn)
    assert await migrated.ended() == 0, "nothing was to be done"

    await switchable.promote()
    await eventually(lambda: is_ready(engine))
    await eventually(lambda: is_ready(beside))
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
    await eventually(lambda: process.log(msg="database: reachable again"))


@pytest.mark.parametrize("word", ["serve", "migrate"])
async def test_a_standby_without_the_schema_is_refused(
    windlass: RunWindlass, switchable: Switchable, word: str
) -> None:
    await switchable.demote()
    text = await (await windlass(word, WE_POSTGRES_DSN=switchable.dsn)).refused_to_boot()
    assert "the schema is at 0, this release needs" in text
    assert STANDBY in text
    assert "create tables" not in text


async def test_a_read_only_database_without_the_schema_is_refused(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    database = dsn.partition("?")[0].rpartition("/")[2]
    await rows(server.dsn(), f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    text = await (await windlass("serve", WE_POSTGRES_DSN=dsn)).refused_to_boot()
    assert "default_transaction_read_only is on" in text
    assert "create tables" not in text


# -- a name that moves


class Name:
    """An address that leads new connections to another server from some moment on; those there are stay."""

    def __init__(self) -> None:
        self.target_port = 0
        self._wires: set[asyncio.StreamWriter] = set()

    async def lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._wires |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        finally:
            self._wires -= {writer, far_writer}

    def close(self) -> None:
        for wire in self._wires:
            wire.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
    except ConnectionError:
        pass
    writer.close()


async def test_after_a_switchover_nobody_reads_from_the_demoted_server(
    windlass: RunWindlass, switchable: Switchable, tmp_path: Path
) -> None:
    """Nobody writes here, and nobody asks for readiness: the sessions on a standby end by themselves."""
    name = Name()
    async with (
        PostgresServer(tmp_path / "new.log") as new_primary,
        await asyncio.start_server(name.lead, "127.0.0.1") as listener,
    ):
        name.target_port = switchable.server.port
        await rows(new_primary.dsn(), f"ALTER ROLE windlass PASSWORD '{switchable.server.secret}'")
        await new_primary.create_database("d")
        _, engine = await windlass.serving(
            WE_POSTGRES_DSN=switchable.server.engine_dsn("d", listener.sockets[0].getsockname()[1]),
            DB_MAX_CONNS="6",
            **dict.fromkeys(WRITERS, "600"),
        )
        _, beside = await windlass.serving(
            WE_POSTGRES_DSN=switchable.server.engine_dsn("d", new_primary.port), WINDLASS_NODE_NAME="beside"
        )
        workflow = await beside.define(service("a"), END)
        path = f"/v1/definitions/{workflow.id}"

        async def statuses() -> set[int]:
            """Of more reads at once than the pool has sessions."""
            return {answer.status for answer in await asyncio.gather(*(engine.get(path) for _ in range(30)))}

        async def refuses_to_read() -> bool:
            found = await statuses()
            assert 404 not in found, "it was taken for the truth that the standby knows nothing of it"
            return found == {503}

        await switchable.demote()
        await eventually(refuses_to_read)
        name.target_port = new_primary.port
        await asyncio.sleep(STANDBY_SESSION_MAX_S)
        assert await statuses() == {200}
        await eventually(lambda: is_ready(engine))
        name.close()

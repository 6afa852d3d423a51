"""A boot that is only tried, and a replica that comes back with other values."""

import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from seatrial.cluster import (
    Boots,
    ClusterError,
    ClusterSpec,
    Exits,
    Kafka,
    KafkaFaults,
    Logs,
    Reconfigure,
    RollingReconfigure,
)
from seatrial.cluster.local import LocalCluster
from seatrial.cluster.postgres import PostgresServer
from seatrial.drill import OUTBOX_VALUES
from seatrial.environment import engine_variables

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINE = shlex.join([sys.executable, str(Path(__file__).with_name("tiny_engine.py"))])
BOUND_S = 20.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as started:
        yield started


def cluster(server: PostgresServer, folder: Path, misbehaviour: str = "") -> LocalCluster:
    command = f"{ENGINE} {misbehaviour}".strip()
    return LocalCluster(ClusterSpec(replicas=1, folder=folder, engine_command=command), postgres=server)


async def environment_of(made: LocalCluster) -> dict[str, str]:
    (replica,) = made.replicas()
    async with aiohttp.ClientSession() as session, session.get(f"{replica.rest_url}/env") as answer:
        found: dict[str, str] = json.loads(await answer.text())
        return found


async def test_a_good_boot_is_ready_and_gone_afterwards(server: PostgresServer, tmp_path: Path) -> None:
    made = cluster(server, tmp_path)
    assert isinstance(made, Boots)
    try:
        report = await made.boot({}, bound_s=BOUND_S)
    finally:
        await made.down()
    assert (report.exit_code, report.ready, report.leaked, report.processes_left) == (None, True, False, 0)
    assert made.replicas() == []


async def test_a_boot_that_ends_shows_its_code_and_whether_it_told_a_secret(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = cluster(server, tmp_path, "exits")
    try:
        report = await made.boot({}, bound_s=BOUND_S)
    finally:
        await made.down()
    assert (report.exit_code, report.ready, report.leaked) == (3, False, True)
    assert "***" in report.output
    assert server.secret not in report.output


async def test_a_boot_that_never_gets_ready_has_its_bound(server: PostgresServer, tmp_path: Path) -> None:
    made = cluster(server, tmp_path, "never-ready")
    try:
        report = await made.boot({}, bound_s=0.5)
    finally:
        await made.down()
    assert (report.exit_code, report.ready) == (None, False)
    assert report.duration_s >= 0.5


async def test_a_replica_comes_back_with_other_values_at_its_address(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = cluster(server, tmp_path)
    assert isinstance(made, Reconfigure)
    await made.up()
    try:
        before, addresses = await environment_of(made), made.replicas()
        assert "WINDLASS_LEASE_SECONDS" not in before
        await made.reconfigure("replica-0", engine_variables(WINDLASS_LEASE_SECONDS=7))
        after = await environment_of(made)
        assert after.pop("WINDLASS_LEASE_SECONDS") == "7"
        assert after == before
        assert made.replicas() == addresses
        await made.reconfigure("replica-0", {})
        assert "WINDLASS_LEASE_SECONDS" not in await environment_of(made)
    finally:
        await made.down()


async def test_a_turn_replaces_every_replica_and_its_output_is_told_from_what_was_before(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = cluster(server, tmp_path)
    assert isinstance(made, RollingReconfigure)
    assert isinstance(made, Logs)
    await made.up()
    try:
        before = made.log_path("replica-0").stat().st_size
        assert (made.run_began_at("replica-0"), before > 0) == (0, True)
        await made.reconfigure_all(engine_variables(WINDLASS_LEASE_SECONDS=7))
        assert (await environment_of(made))["WINDLASS_LEASE_SECONDS"] == "7"
        assert made.run_began_at("replica-0") >= before
    finally:
        await made.down()


async def test_without_a_broker_kafka_mode_is_refused_by_name(server: PostgresServer, tmp_path: Path) -> None:
    made = cluster(server, tmp_path)
    assert isinstance(made, Kafka)
    assert isinstance(made, KafkaFaults)
    with pytest.raises(ClusterError, match="no broker"):
        made.broker_process()
    try:
        with pytest.raises(ClusterError, match="no broker"):
            await made.boot(OUTBOX_VALUES, bound_s=BOUND_S)
    finally:
        await made.down()


async def test_an_end_that_nobody_asked_for_is_remembered(server: PostgresServer, tmp_path: Path) -> None:
    made = cluster(server, tmp_path)
    assert isinstance(made, Exits)
    await made.up()
    try:
        await made.kill("replica-0")
        await made.start("replica-0")
        await made.stop("replica-0")
        await made.start("replica-0")
        assert made.unasked_exits("replica-0") == []
        process = made._nodes["replica-0"].process
        os.kill(process.pid, signal.SIGSEGV)
        assert await process.wait() == -signal.SIGSEGV
        assert made.unasked_exits("replica-0") == [-signal.SIGSEGV]
    finally:
        await made.down()

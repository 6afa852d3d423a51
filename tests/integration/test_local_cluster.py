import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, LiteralString, cast

import aiohttp
import msgspec
import psutil
import psycopg
import pytest
import pytest_asyncio

from patience import eventually
from seatrial.cluster import Cluster, ClusterError, ClusterSpec
from seatrial.cluster.ability import Database, Kill, Logs, Partition, Pause, Restarts
from seatrial.cluster.local.cluster import LocalCluster
from seatrial.cluster.postgres import PostgresServer
from seatrial.fault import Fault, FaultHadNoEffect, NotHealed, inflicted
from seatrial.fault.database import CrashDatabase, TerminateSessions
from seatrial.fault.kill import KillAllReplicas, KillReplica, RestartReplica, StopReplica
from seatrial.fault.partition import CutNetwork
from seatrial.fault.pause import PauseReplica
from seatrial.history import HISTORY_FILE, Op, Recorder

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 20.0
ENGINE = shlex.join([sys.executable, str(Path(__file__).with_name("tiny_engine.py"))])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalCluster]:
    """Two replicas; every test leaves it healed."""
    made = LocalCluster(spec(tmp_path_factory.mktemp("cluster"), replicas=2), postgres=server)
    await made.up()
    yield made
    await made.down()


def spec(folder: Path, misbehaviour: str = "", **more: Any) -> ClusterSpec:
    return ClusterSpec(folder=folder, engine_command=f"{ENGINE} {misbehaviour}".strip(), **more)


async def get(url: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer,
    ):
        return answer.status, await answer.text()


async def one(dsn: str, query: LiteralString, *values: object) -> Any:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        row = await (await connection.execute(query, values)).fetchone()
        return row[0] if row else None


async def beats(cluster: LocalCluster, replica: str) -> int:
    return cast(
        int,
        await one(cluster.ability(Database).dsn(), "SELECT count(*) FROM beat WHERE replica = %s", replica),
    )


async def goes_on_beating(cluster: LocalCluster, replica: str) -> None:
    before = await beats(cluster, replica)

    async def more() -> bool:
        return await beats(cluster, replica) > before + 1

    await eventually(more, WITHIN_S)


def rest_url(cluster: Cluster, name: str) -> str:
    return next(replica.rest_url for replica in cluster.replicas() if replica.name == name)


# -- what runs is what the chart says ------------------------------------------------------------


async def test_replicas_have_stable_names_and_addresses_of_their_own(cluster: LocalCluster) -> None:
    replicas = cluster.replicas()
    assert [replica.name for replica in replicas] == ["replica-0", "replica-1"]
    urls = [url for each in replicas for url in (each.rest_url, each.metrics_url, each.grpc_address)]
    assert len(set(urls)) == 6
    for replica in replicas:
        assert (await get(replica.rest_url + "/ready"))[0] == 200


async def test_the_environment_is_the_charts_and_nothing_of_ours(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WE_LOG_LEVEL", "of the harness")
    monkeypatch.setenv("SEATRIAL_SECRET", "of the harness")
    values = {
        "engine": {"logLevel": "debug", "db": {"maxConns": 7}},
        "postgresql": {"existingSecret": "of-the-operator"},
        "extraEnv": [{"name": "EXTRA", "value": "more"}],
    }
    made = LocalCluster(spec(tmp_path, replicas=1, values=values), postgres=server)
    await made.up()
    try:
        url = made.replicas()[0].rest_url
        env = json.loads((await get(url + "/env"))[1])
    finally:
        await made.down()
    # LC_CTYPE is set by CPython itself under some locales.
    ours = {"PATH", "HOME", "LANG"}
    assert {name for name in env if not name.startswith(("WE_", "DB_", "WINDLASS_", "LC_"))} == {
        *ours,
        "EXTRA",
    }
    assert env["WE_LOG_LEVEL"] == "debug"
    assert env["DB_MAX_CONNS"] == "7"
    assert env["WE_DISPATCH_MODE"] == "polling"
    assert env["WINDLASS_NODE_NAME"] == "replica-0"
    assert env["WE_REST_PORT"] == url.rpartition(":")[2]
    assert env["PATH"].split(":")[0] == str(Path(sys.executable).parent)


async def test_each_cluster_has_a_database_that_goes_with_it(server: PostgresServer, tmp_path: Path) -> None:
    made = LocalCluster(spec(tmp_path, replicas=1), postgres=server)
    await made.up()
    name = await one(made.ability(Database).dsn(), "SELECT current_database()")
    pids = [child.pid for child in psutil.Process().children()]
    await made.down()
    await made.down()
    assert await one(server.dsn(), "SELECT count(*) FROM pg_database WHERE datname = %s", name) == 0
    assert made.replicas() == []
    assert len(psutil.Process().children()) == len(pids) - 2, "the replica and the cluster's reaper are gone"


def descendants(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


async def test_without_a_server_it_brings_its_own_and_takes_it_down_even_when_crashed(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    made = LocalCluster(spec(tmp_path, replicas=1))
    await made.up()
    await goes_on_beating(made, "replica-0")
    await made.ability(Database).crash()
    await made.ability(Pause).pause("replica-0")
    await made.ability(Partition).cut("replica-0", "refuse")
    its_own = {child.pid for child in psutil.Process().children()} - before
    its_own |= {pid for own in its_own for pid in descendants(own)}
    assert its_own
    await made.down()
    assert not {pid for pid in its_own if psutil.pid_exists(pid)}
    assert "automatic recovery" not in (tmp_path / "logs" / "postgres.log").read_text()


# -- clear refusals --------------------------------------------------------------------------------


async def test_a_replica_that_ends_is_shown_with_its_log_but_without_the_password(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = LocalCluster(spec(tmp_path, "exits", replicas=1), postgres=server)
    with pytest.raises(
        ClusterError,
        match=r"(?s)replica-0 exited with 3 before it was ready: .*\.log:\ntiny engine of replica-0",
    ) as refused:
        await made.up()
    assert "windlass:***@127.0.0.1" in str(refused.value)
    assert server.secret not in str(refused.value)
    assert made.replicas() == []


async def test_a_replica_that_is_never_ready_is_shown_with_what_its_probe_heard(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatrial.cluster.local.processes.READY_WITHIN_S", 1.0)
    made = LocalCluster(spec(tmp_path, "never-ready", replicas=1), postgres=server)
    with pytest.raises(
        ClusterError,
        match=r"(?s)replica-0 is not ready after 1 s: GET /ready answered 503: the tide is out; the end",
    ):
        await made.up()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "no-such-engine --fast",
            r"engine command 'no-such-engine' is not a program in .*; give its full path",
        ),
        ("windlass 'serve", r"""engine command "windlass 'serve": No closing quotation"""),
    ],
)
async def test_a_command_that_cannot_run_is_refused(
    server: PostgresServer, tmp_path: Path, command: str, message: str
) -> None:
    made = LocalCluster(ClusterSpec(replicas=1, engine_command=command, folder=tmp_path), postgres=server)
    with pytest.raises(ClusterError, match=message):
        await made.up()


async def test_values_that_the_chart_refuses_are_refused_with_its_words(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = LocalCluster(spec(tmp_path, values={"engine": {"dispatchMod": "polling"}}), postgres=server)
    with pytest.raises(ClusterError, match="dispatchMod") as refused:
        await made.up()
    assert server.secret not in str(refused.value)


async def test_an_unknown_replica_and_no_replica_are_refused(cluster: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="no replica 'replica-9'; there are replica-0, replica-1"):
        await cluster.ability(Kill).kill("replica-9")
    with pytest.raises(ClusterError, match="replicas must be at least 1, got 0"):
        LocalCluster(ClusterSpec(replicas=0))
    with pytest.raises(ClusterError, match="already up"):
        await cluster.up()


# -- faults ----------------------------------------------------------------------------------------


async def break_it(cluster: LocalCluster, fault: Fault, folder: Path) -> tuple[dict[str, Any], list[Op]]:
    recorder = Recorder(folder)
    try:
        async with inflicted(fault, cluster, recorder) as evidence:
            await asyncio.sleep(0.05)
    finally:
        recorder.close()
    lines = (folder / HISTORY_FILE).read_bytes().splitlines()
    return evidence, [msgspec.json.decode(line, type=Op) for line in lines]


@pytest.mark.parametrize(
    ("fault", "evidence"),
    [
        (KillReplica("replica-0"), {"silence"}),
        (StopReplica("replica-0"), {"exit_code", "silence"}),
        (RestartReplica("replica-0"), {"exit_code"}),
        (KillAllReplicas(), {"silence"}),
        (PauseReplica("replica-0"), {"silence"}),
        (CutNetwork("replica-0", "delay", delay_s=0.05), {"dropped_bytes"}),
        (CutNetwork("replica-0", "blackhole"), {"dropped_bytes"}),
        (CutNetwork("replica-0", "half-open"), {"dropped_bytes"}),
        (CutNetwork("replica-0", "refuse"), {"closed_connections"}),
        (TerminateSessions("replica-0"), {"sessions"}),
        (CrashDatabase(), {"connect"}),
        (CrashDatabase("immediate"), {"connect"}),
        (CrashDatabase("fast"), {"connect"}),
    ],
    ids=lambda value: (
        "-".join(map(str, (value.name, *value.parameters().values()))) if hasattr(value, "name") else ""
    ),
)
async def test_each_fault_bites_heals_and_is_recorded(
    cluster: LocalCluster, tmp_path: Path, fault: Fault, evidence: set[str]
) -> None:
    for replica in cluster.replicas():
        await goes_on_beating(cluster, replica.name)
    seen, ops = await break_it(cluster, fault, tmp_path)
    assert set(seen) == evidence
    assert all(seen.values()) or seen.get("exit_code") == 0
    assert [(op.process, op.type, op.f) for op in ops] == [
        ("fault-0", "invoke", fault.name),
        ("fault-0", "ok", fault.name),
        ("fault-0", "invoke", "heal"),
        ("fault-0", "ok", "heal"),
    ]
    for replica in cluster.replicas():
        assert (await get(replica.rest_url + "/ready"))[0] == 200
        await goes_on_beating(cluster, replica.name)


async def test_a_kill_leaves_the_others_alone_and_the_log_goes_on(cluster: LocalCluster) -> None:
    log = cluster.ability(Logs).log_path("replica-0")
    starts = log.read_text().count("tiny engine")
    await cluster.ability(Kill).kill("replica-0")
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(rest_url(cluster, "replica-0") + "/healthz")
    await goes_on_beating(cluster, "replica-1")
    await cluster.ability(Kill).kill("replica-0")
    await cluster.ability(Kill).start("replica-0")
    await cluster.ability(Kill).start("replica-0")
    assert log.read_text().count("tiny engine") == starts + 1


async def test_a_kill_takes_the_replicas_children_with_it(cluster: LocalCluster) -> None:
    child = psutil.Process(int((await get(rest_url(cluster, "replica-0") + "/child"))[1]))
    assert child.is_running()
    await cluster.ability(Kill).kill("replica-0")
    assert not child.is_running()
    await cluster.ability(Kill).start("replica-0")


async def is_at_rest(cluster: LocalCluster) -> bool:
    """What the database had to say to its clients is said, and through the proxy, which ran while we asked."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()"
    return bool(await one(cluster.ability(Database).dsn(), f"{busy} AND pid <> pg_backend_pid()") == 0)


async def test_a_fault_that_hits_nothing_did_not_bite_and_is_healed(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    await cluster.ability(Pause).pause("replica-0")
    await eventually(partial(is_at_rest, cluster), WITHIN_S)
    fault = CutNetwork("replica-0", "blackhole", effect_within_s=0.2)
    try:
        with pytest.raises(FaultHadNoEffect, match=r"replica-0 exchanged no byte with the database in 0.2 s"):
            await break_it(cluster, fault, tmp_path)
    finally:
        await cluster.ability(Pause).resume("replica-0")
    ops = [json.loads(line) for line in (tmp_path / HISTORY_FILE).read_bytes().splitlines()]
    assert [(op["type"], op["f"]) for op in ops] == [
        ("invoke", "cut_network"), ("fail", "cut_network"), ("invoke", "heal"), ("ok", "heal")
    ]  # fmt: skip
    assert ops[1]["error"]["code"] == "fault-did-not-bite"
    await goes_on_beating(cluster, "replica-0")


async def test_a_fault_after_which_a_replica_stays_away_is_not_healed(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LocalCluster(spec(tmp_path, replicas=1), postgres=server)
    await made.up()
    await goes_on_beating(made, "replica-0")
    try:
        monkeypatch.setattr("seatrial.cluster.local.processes.READY_WITHIN_S", 0.5)
        with pytest.raises(
            NotHealed, match=r"terminate_sessions is healed, but replica-0 is not ready after 0.5 s"
        ):
            await break_it(made, PausedAfterwards(made), tmp_path)
    finally:
        await made.down()


class PausedAfterwards(TerminateSessions):
    """Its replica stands still when it should recover."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__("replica-0")
        object.__setattr__(self, "_cluster", cluster)

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Pause).pause("replica-0")


# -- a kubelet's part ------------------------------------------------------------------------------


async def test_with_restart_a_dead_replica_comes_back_and_a_stopped_one_does_not(
    server: PostgresServer, tmp_path: Path
) -> None:
    made = LocalCluster(spec(tmp_path, replicas=1), postgres=server, restart=True)
    await made.up()
    try:
        await made.ability(Kill).kill("replica-0")
        await until_restarted(made, 1)
        await made.ability(Kill).start("replica-0")
        assert await made.ability(Kill).stop("replica-0") == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await get(rest_url(made, "replica-0") + "/healthz")
        await made.ability(Kill).start("replica-0")
        assert made.ability(Restarts).restarts("replica-0") == 1
    finally:
        await made.down()


async def test_with_restart_a_failing_liveness_probe_ends_the_process(
    server: PostgresServer, tmp_path: Path
) -> None:
    quick = {"probes": {"liveness": {"periodSeconds": 1, "failureThreshold": 2}}}
    made = LocalCluster(spec(tmp_path, "sick", replicas=1, values=quick), postgres=server, restart=True)
    await made.up()
    try:
        await until_restarted(made, 1)
    finally:
        await made.down()


async def until_restarted(cluster: LocalCluster, times: int) -> None:
    async def restarted() -> bool:
        return cluster.ability(Restarts).restarts("replica-0") >= times

    await eventually(restarted, WITHIN_S)


# -- nothing is left -------------------------------------------------------------------------------


LONE_HARNESS = Path(__file__).with_name("lone_harness.py")
HARNESS_ENDS_WITHIN_S = 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_nothing_outlives_an_interrupted_or_killed_harness(
    tmp_path: Path, number: signal.Signals
) -> None:
    harness = subprocess.Popen(
        [sys.executable, LONE_HARNESS, tmp_path, ENGINE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    assert await asyncio.to_thread(harness.stdout.readline) == "up\n"
    family = [child.pid for child in psutil.Process(harness.pid).children(recursive=True)]
    assert len(family) > 6
    os.kill(harness.pid, number)
    await asyncio.to_thread(harness.communicate, timeout=HARNESS_ENDS_WITHIN_S)

    async def gone() -> bool:
        return not any(is_running(pid) for pid in family)

    await eventually(gone, WITHIN_S)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

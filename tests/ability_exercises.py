"""One exercise for each ability: it uses every method for real and leaves the cluster as it was.

They run over each backend that offers the ability: tests/integration/test_local_abilities.py, test_attached_cluster.py,
tests/kind/test_kind_abilities.py and tests/compose/test_compose_abilities.py. The cluster has two replicas of the
engine, in kafka_outbox mode where the backend has a broker.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from broker_exercises import broker, broker_network, broker_process
from configuration_exercises import (
    boots,
    certificates,
    commands,
    reconfigure,
    rolling_reconfigure,
    siblings,
)
from database_exercises import disk, failover, managed_failover, next_release, pooler, wake_bus
from exercise_looks import (
    OTHER,
    REPLICA,
    answers,
    eventually,
    is_down,
    is_not_ready,
    is_ready,
    is_silent,
    of,
    reaches_broker,
    rows,
)
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import (
    Aliases,
    Balancer,
    Boots,
    Certificates,
    Commands,
    Credentials,
    Database,
    Disk,
    Exits,
    Failover,
    Kill,
    LogReader,
    Logs,
    ManagedFailover,
    NextRelease,
    Nodes,
    Partition,
    Pause,
    Pooler,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Scale,
    ScaleOut,
    Schedulers,
    Service,
    Siblings,
    Sockets,
    Upgrade,
    WakeBus,
)
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess, CutMode
from seatrial.cluster.log_pipe import CAPACITY_BYTES
from seatrial.cluster.resources import Resources
from service_exercise import service

REPLICAS = 2
#: more than a file that names its servers has
MANY = 4

Exercise = Callable[[Any, Cluster, Path], Awaitable[None]]
"""The ability, the cluster that handed it out, an empty folder."""

OF_THE_OWNER: Mapping[type, frozenset[str]] = {Broker: frozenset({"start", "close"})}
"""Methods for whoever runs the thing that an ability stands for: the backend's services call them in every test."""


async def exercised(cluster: Cluster, kind: type, folder: Path) -> None:
    """Raises AssertionError when a method does not do what it says, or when the exercise does not call it."""
    for name in (replica.name for replica in cluster.replicas()):
        await is_ready(cluster, name)
    used: set[str] = set()
    await EXERCISES[kind](_Watched(cluster.ability(kind), used), cluster, folder)
    assert unused(kind, used) == set(), f"the exercise of {kind.__name__} does not call all of it"
    for name in (replica.name for replica in cluster.replicas()):
        await is_ready(cluster, name)


def unused(kind: type, used: set[str]) -> set[str]:
    """The ability's own methods that were not used; inherited ones belong to the exercise of their own type."""
    own = {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
    return own - OF_THE_OWNER.get(kind, frozenset()) - used


class _Watched:
    """Notes which attributes are asked for."""

    def __init__(self, ability: object, used: set[str]) -> None:
        self._ability = ability
        self._used = used

    def __getattr__(self, name: str) -> Any:
        self._used.add(name)
        return getattr(self._ability, name)


# -- replicas


async def kill(ability: Kill, cluster: Cluster, _folder: Path) -> None:
    await ability.kill(REPLICA)
    await is_silent(cluster, REPLICA)
    assert await answers(cluster, OTHER, "/ready"), "the other one was touched, too"
    await ability.start(REPLICA)
    assert await answers(cluster, REPLICA, "/ready", 5.0)
    assert await ability.stop(REPLICA) == 0
    await is_silent(cluster, REPLICA)
    await ability.start(REPLICA, wait_ready=False)
    await ability.start(REPLICA)
    with pytest.raises(ClusterError, match="'replica-9'"):
        await ability.kill("replica-9")


async def schedulers(ability: Schedulers, cluster: Cluster, _folder: Path) -> None:
    (name,) = ability.names()
    url = ability.metrics_url(name)
    assert url is None or url.startswith("http")
    assert name not in {replica.name for replica in cluster.replicas()}
    for end in (ability.kill, ability.stop):
        assert ability.running(name)
        await end(name)
        assert not ability.running(name)
        assert await answers(cluster, REPLICA, "/ready"), "a replica was touched, too"
        await ability.start(name, wait_ready=False)
        await ability.start(name)
    with pytest.raises(ClusterError, match="'scheduler-9'"):
        await ability.kill("scheduler-9")


async def pause(ability: Pause, cluster: Cluster, _folder: Path) -> None:
    await ability.pause(REPLICA)
    assert not await answers(cluster, REPLICA, "/healthz")
    assert await answers(cluster, OTHER, "/healthz")
    await ability.resume(REPLICA)
    assert await answers(cluster, REPLICA, "/healthz", 5.0)


async def partition(ability: Partition, cluster: Cluster, _folder: Path) -> None:
    """In every mode that the backend has; it names the one that it lacks."""
    modes: Sequence[CutMode] = ("delay", "blackhole", "half-open", "refuse")
    for mode in modes:
        try:
            if not await _cuts(ability, mode):
                continue
            if mode == "refuse":
                assert ability.cut_connections(REPLICA) > 0
            else:
                await eventually(lambda: ability.dropped_bytes(REPLICA) > 0, "it held something back")
            if mode != "delay":
                await eventually(lambda: is_not_ready(cluster, REPLICA), f"{mode} is noticed")
            assert ability.dropped_bytes(OTHER) == 0
            assert await answers(cluster, OTHER, "/ready")
        finally:
            await ability.mend(REPLICA)
        await is_ready(cluster, REPLICA)


async def _cuts(ability: Partition, mode: CutMode) -> bool:
    """False for the one mode that a backend may lack."""
    try:
        await ability.cut(REPLICA, mode, delay_s=0.02)
    except ClusterError:
        if mode != "delay":
            raise
        return False
    return True


async def exits(ability: Exits, cluster: Cluster, _folder: Path) -> None:
    """A signal that nobody asked the harness to send."""
    before = list(ability.unasked_exits(REPLICA))
    port = int(of(cluster, REPLICA).rest_url.rpartition(":")[2])
    (pid,) = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
    }
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wanted = [*before, -signal.SIGKILL]
    await eventually(lambda: list(ability.unasked_exits(REPLICA)) == wanted, "the exit is known")
    await cluster.ability(Kill).start(REPLICA)


async def restarts(ability: Restarts, cluster: Cluster, _folder: Path) -> None:
    before = ability.restarts(OTHER)
    await cluster.ability(Kill).kill(OTHER)
    await eventually(lambda: ability.restarts(OTHER) == before + 1, "it was started again")


async def logs(ability: Logs, cluster: Cluster, _folder: Path) -> None:
    path = ability.log_path(REPLICA)
    assert path != ability.log_path(OTHER)
    await eventually(lambda: path.stat().st_size > 0, "the log has a line")
    before = path.stat().st_size
    await cluster.ability(Kill).kill(REPLICA)
    await cluster.ability(Kill).start(REPLICA)

    def is_of_the_new_run() -> bool:
        with suppress(ClusterError):
            return before <= ability.run_began_at(REPLICA) < path.stat().st_size
        return False

    await eventually(is_of_the_new_run, "the log tells where the new run begins")


async def log_reader(ability: LogReader, cluster: Cluster, _folder: Path) -> None:
    await ability.attach(REPLICA)
    path = cluster.ability(Logs).log_path(REPLICA)
    with pytest.raises(ClusterError, match="already"):
        await ability.attach(REPLICA)
    ability.stop(REPLICA)
    stopped_at = path.stat().st_size

    async def is_full() -> bool:
        """Each call is a line."""
        await answers(cluster, REPLICA, "/v1/definitions")
        return ability.unread_bytes(REPLICA) > CAPACITY_BYTES // 2

    try:
        await eventually(is_full, "what nobody reads fills the pipe")
        assert path.stat().st_size == stopped_at
    finally:
        ability.resume(REPLICA)
    await eventually(lambda: path.stat().st_size > stopped_at, "the log goes on")
    assert ability.unread_bytes(REPLICA) < CAPACITY_BYTES


async def resources(ability: Resources, cluster: Cluster, _folder: Path) -> None:
    assert {REPLICA, OTHER} <= set(ability.nodes())
    use, bound = ability.use(REPLICA), ability.memory_bound(REPLICA)
    assert use is not None
    assert 0 < use.rss_bytes <= use.rss_peak_bytes
    assert use.descriptors > 3
    assert use.log_bytes > 0
    assert bound is not None
    assert bound.limit_bytes == 512 * 1024 * 1024, "the chart's"
    assert bound.kills == 0
    await cluster.ability(Kill).stop(REPLICA)
    assert ability.use(REPLICA) is None
    await cluster.ability(Kill).start(REPLICA)


async def aliases(ability: Aliases, cluster: Cluster, _folder: Path) -> None:
    assert {replica.name for replica in cluster.replicas()} <= set(ability.aliases().values())
    assert all(ability.aliases())


async def sockets(ability: Sockets, cluster: Cluster, _folder: Path) -> None:
    """Where there is no broker, an engine opens no connection but those to its database."""
    if not cluster.has(Broker):
        assert await ability.peers(REPLICA) == []
        return
    await reaches_broker(cluster, REPLICA)
    assert all(peer.rpartition(":")[2].isdigit() for peer in await ability.peers(REPLICA))


async def balancer(ability: Balancer, cluster: Cluster, _folder: Path) -> None:
    """On a cluster whose clients call its replicas, the balancer stands beside them."""
    assert {each.name for each in ability.servers()} == {REPLICA, OTHER}
    for server in ability.servers():
        assert await answers(cluster, server.name, "/ready")
    await ability.kill()
    await ability.start()
    assert await ability.stop() == 0
    await ability.start(wait_ready=False)
    await ability.start()


# -- the database


async def database(ability: Database, cluster: Cluster, _folder: Path) -> None:
    dsn = ability.dsn()
    assert await rows(dsn, "SELECT 1") == [(1,)]
    sessions = """SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND client_port > 0 AND pid <> pg_backend_pid()"""
    before = set(await rows(dsn, sessions))
    ended = await ability.terminate_sessions(REPLICA)
    assert 0 < ended < len(before), "not one replica's alone"
    assert len(before - set(await rows(dsn, sessions))) >= ended
    try:
        await ability.crash()
        await ability.start()
        assert await rows(dsn, "SELECT 1") == [(1,)]
        await ability.stop("fast")
        await is_down(dsn)
        await ability.start()
        await ability.stop("immediate")
        await is_down(dsn)
    finally:
        await ability.start()
    for name in (REPLICA, OTHER):
        await is_ready(cluster, name)


async def credentials(ability: Credentials, cluster: Cluster, _folder: Path) -> None:
    await ability.rotate_password()
    assert not await ability.opens_with_old_password()
    rolled = await cluster.ability(Upgrade).upgrade(
        "this", {"podAnnotations": {"example.com/rotated": "yes"}}
    )
    assert rolled.status == "deployed", rolled.message
    found = await ability.exposures()
    assert {each.place for each in found} >= {"logs", "objects", "release"}
    assert sum(each.bytes for each in found) > 0
    assert [each for each in found if each.found] == []


# -- the release and its machines


async def upgrade(ability: Upgrade, _cluster: Cluster, _folder: Path) -> None:
    rolled = await ability.upgrade("this", {"podAnnotations": {"example.com/exercise": "yes"}})
    assert (rolled.status, rolled.message) == ("deployed", "")
    assert not set(rolled.pods_before) & set(rolled.pods_after)
    assert rolled.ready_min >= 1
    back = await ability.rollback()
    assert (back.status, back.revision) == ("deployed", rolled.revision + 1)


async def scale(ability: Scale, _cluster: Cluster, _folder: Path) -> None:
    more = await ability.scale(REPLICAS + 1)
    assert (len(more.pods_before), len(more.pods_after)) == (REPLICAS, REPLICAS + 1)
    fewer = await ability.scale(REPLICAS)
    assert set(fewer.pods_after) < set(more.pods_after)


async def scale_out(ability: ScaleOut, _cluster: Cluster, _folder: Path) -> None:
    more = await ability.scale(MANY)
    assert len(more.pods_after) == MANY
    await ability.scale(REPLICAS)


async def nodes(ability: Nodes, cluster: Cluster, _folder: Path) -> None:
    placed = ability.placement()
    assert sum(placed.values()) == REPLICAS
    node = max(placed, key=lambda each: placed[each])
    drained = await ability.drain(node)
    assert drained.evicted >= placed[node]
    assert node not in ability.placement()
    await ability.uncordon(node)
    for name in (REPLICA, OTHER):
        await cluster.ability(Kill).start(name)


EXERCISES: Mapping[type, Exercise] = {
    Aliases: aliases,
    Balancer: balancer,
    Boots: boots,
    Certificates: certificates,
    Broker: broker,
    BrokerNetwork: broker_network,
    BrokerProcess: broker_process,
    Commands: commands,
    Credentials: credentials,
    Database: database,
    ManagedFailover: managed_failover,
    Disk: disk,
    Exits: exits,
    Failover: failover,
    Kill: kill,
    LogReader: log_reader,
    Logs: logs,
    NextRelease: next_release,
    Nodes: nodes,
    Partition: partition,
    Pause: pause,
    Pooler: pooler,
    Reconfigure: reconfigure,
    Resources: resources,
    Restarts: restarts,
    RollingReconfigure: rolling_reconfigure,
    Scale: scale,
    ScaleOut: scale_out,
    Schedulers: schedulers,
    Service: service,
    Siblings: siblings,
    Sockets: sockets,
    Upgrade: upgrade,
    WakeBus: wake_bus,
}

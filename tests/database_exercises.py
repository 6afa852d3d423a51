"""Exercises of the abilities that concern the database's server and what is in front of it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from exercise_looks import (
    OTHER,
    POLLING,
    REPLICA,
    answers,
    eventually,
    hears_others,
    is_down,
    is_not_ready,
    is_ready,
    rows,
)
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import (
    Boots,
    Database,
    Disk,
    Failover,
    ManagedFailover,
    NextRelease,
    Pooler,
    Reconfigure,
    WakeBus,
)
from seatrial.drill import OUTBOX_VALUES

BOOT_BOUND_S = 40.0


async def disk(ability: Disk, cluster: Cluster, _folder: Path) -> None:
    """It stays small until the cluster is gone, and large enough for all that follows."""
    await ability.limit(256 << 20)
    dsn = cluster.ability(Database).dsn()
    grow = "CREATE TABLE grown AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)"
    # A server that was just started writes its cache of the catalogue at the first connection, and on a full disk it
    # refuses every connection until it has one.
    await is_ready(cluster, REPLICA)
    await rows(dsn, "SELECT 1")
    try:
        assert 200 << 20 < await ability.fill() <= 256 << 20
        with pytest.raises(psycopg.errors.DiskFull):
            await rows(dsn, grow)
    finally:
        await ability.empty()
    await rows(dsn, grow)
    await rows(dsn, "DROP TABLE grown")


async def pooler(ability: Pooler, cluster: Cluster, _folder: Path) -> None:
    """It stays in between until the cluster is gone."""
    await ability.attach()
    await is_ready(cluster, REPLICA)
    await ability.stop()
    await eventually(lambda: is_not_ready(cluster, REPLICA), "the pooler is in between")
    await ability.start()
    await is_ready(cluster, REPLICA)
    assert await ability.cut() > 0
    await eventually(lambda: is_not_ready(cluster, REPLICA), "the pooler is in between")
    await ability.mend()


async def wake_bus(ability: WakeBus, cluster: Cluster, _folder: Path) -> None:
    """Those that use it go on doing so until the cluster is gone."""
    await ability.attach()
    await cluster.ability(Reconfigure).reconfigure(REPLICA, {})

    async def is_used(*, is_so: bool = True) -> None:
        async def is_as_asked() -> bool:
            return await hears_others(cluster, REPLICA) is is_so

        await eventually(is_as_asked, f"{REPLICA} {'hears' if is_so else 'does not hear'} the others")

    await is_used()
    await ability.stop()
    await is_used(is_so=False)
    assert await answers(cluster, REPLICA, "/ready")
    await ability.start()
    await is_used()
    assert await ability.cut() > 0
    await is_used(is_so=False)
    await ability.mend()
    await is_used()


async def next_release(ability: NextRelease, cluster: Cluster, _folder: Path) -> None:
    """The schema is then ahead of the engines that serve, which they do not mind."""
    report = await cluster.ability(Boots).boot(ability.values(), bound_s=BOOT_BOUND_S)
    assert report.ready, report.output
    assert await rows(cluster.ability(Database).dsn(), "SELECT drill_note FROM job WHERE false") == []


async def managed_failover(ability: ManagedFailover, cluster: Cluster, _folder: Path) -> None:
    change, database = cluster.ability(Reconfigure).reconfigure, cluster.ability(Database)
    before = database.dsn()
    await ability.attach()
    try:
        await change(REPLICA, POLLING)
        killed = await ability.kill_leader()
        await is_down(database.dsn())
        assert await ability.until_taken_over() != killed
        assert await rows(database.dsn(), "SELECT pg_is_in_recovery()") == [(False,)]
        await is_ready(cluster, REPLICA)
    finally:
        await ability.detach()
    await change(REPLICA, OUTBOX_VALUES)
    assert database.dsn() == before


async def failover(ability: Failover, cluster: Cluster, _folder: Path) -> None:
    """Twice, so that the first server is the primary again."""
    database = cluster.ability(Database)
    with pytest.raises(ClusterError, match="no standby; attach one first"):
        await ability.promote()
    await ability.attach(synchronous=False)
    with pytest.raises(ClusterError, match="a standby already"):
        await ability.attach(synchronous=True)
    with pytest.raises(ClusterError, match="stop or crash it"):
        await ability.promote()
    await rows(database.dsn(), "CREATE TABLE late (id int)")
    await eventually(lambda: _has_replayed(database), "the standby has everything")
    await ability.hold_back()
    await rows(database.dsn(), "INSERT INTO late VALUES (1)")
    await database.crash()
    first = await ability.promote()
    assert await rows(database.dsn(), "SELECT * FROM late") == []
    await ability.move(REPLICA)
    await is_ready(cluster, REPLICA)
    assert await is_not_ready(cluster, OTHER)
    await ability.move()
    await is_ready(cluster, OTHER)
    async with ability.alone() as dsn:
        assert await rows(dsn, "SELECT * FROM late") == [(1,)]
    await ability.rejoin()
    await database.crash()
    await eventually(lambda: is_not_ready(cluster, REPLICA), "a lost database is noticed")
    second = await ability.promote()
    assert second.timeline == first.timeline + 1
    await ability.move()
    async with ability.alone() as dsn:
        assert await rows(dsn, "SELECT * FROM late") == []
    await ability.rejoin(lag_s=60.0)
    for name in (REPLICA, OTHER):
        await is_ready(cluster, name)
    await rows(database.dsn(), "DROP TABLE late")


async def _has_replayed(database: Database) -> bool:
    query = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
    return bool((await rows(database.dsn(), query))[0][0])

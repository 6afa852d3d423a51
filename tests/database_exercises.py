"""Exercises of the abilities that are about the database; `ability_exercises.py` has the others and the rules."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from exercise_looks import OTHER, POLLING, REPLICA, eventually, is_down, is_not_ready, is_ready, rows
from seatrial.cluster import Cluster, ClusterError, patroni
from seatrial.cluster.ability import Database, Disk, Failover, ManagedFailover, Reconfigure
from seatrial.drill import OUTBOX_VALUES


async def disk(ability: Disk, cluster: Cluster, _folder: Path) -> None:
    """It stays small until the cluster is gone, and large enough for all that follows."""
    await ability.limit(256 << 20)
    dsn = cluster.ability(Database).dsn()
    grow = "CREATE TABLE grown AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)"
    assert 200 << 20 < await ability.fill() <= 256 << 20
    with pytest.raises(psycopg.errors.DiskFull):
        await rows(dsn, grow)
    await ability.empty()
    await rows(dsn, grow)
    await rows(dsn, "DROP TABLE grown")


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


async def managed_failover(ability: ManagedFailover, cluster: Cluster, _folder: Path) -> None:
    if (lacking := patroni.need()) is not None:
        pytest.skip(f"needs {lacking}")
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
    with pytest.raises(ClusterError, match="stop, crash or freeze it"):
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
    await ability.freeze()
    await eventually(lambda: is_not_ready(cluster, REPLICA), "a frozen database is noticed")
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

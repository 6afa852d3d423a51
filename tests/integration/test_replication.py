"""A primary and its standby, real servers both: what a synchronous commit waits for, and how they change places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from patience import eventually
from seatrial.cluster import ClusterError
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.replication import Replication, ask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("replication"),
    pytest.mark.asyncio(loop_scope="module"),
]

WITHIN_S = 20.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def replication(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replication]:
    """Every test leaves a standby that streams."""
    folder = tmp_path_factory.mktemp("replication")
    async with PostgresServer(folder / "first.log") as first:
        made = Replication(first, folder / "standby.log")
        await made.attach(synchronous=True)
        await ask(first, "CREATE TABLE numbers (id int)")
        yield made
        await made.detach()
        assert await ask(first, "SELECT pg_is_in_recovery()") == [(False,)]
        await asyncio.wait_for(ask(first, "INSERT INTO numbers VALUES (0)"), WITHIN_S)


async def numbers(server: PostgresServer) -> list[int]:
    return [number for (number,) in await ask(server, "SELECT id FROM numbers ORDER BY id")]


async def test_the_standby_is_a_second_server_with_the_same_roles(replication: Replication) -> None:
    assert await ask(replication.standby, "SELECT pg_is_in_recovery()") == [(True,)]
    assert replication.standby.port != replication.primary.port
    dsn = replication.standby.engine_dsn()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as engine:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await engine.execute("CREATE TABLE mine (id int)")
    roles = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'replicator'"
    assert await ask(replication.primary, roles) == [(False, False, False)]


async def test_a_commit_that_the_standby_does_not_get_is_not_answered(replication: Replication) -> None:
    await replication.hold_back()
    write = asyncio.create_task(ask(replication.primary, "INSERT INTO numbers VALUES (1)"))
    await eventually(lambda: _waits(replication.primary))
    assert not write.done()
    await replication.primary.crash()
    with pytest.raises(psycopg.OperationalError):
        await write
    promotion = await replication.promote()
    assert promotion.timeline > 1
    assert 1 not in await numbers(replication.primary)
    await replication.standby.start(alone=True)
    assert 1 in await numbers(replication.standby), "the old primary had committed it"
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(replication.standby.engine_dsn(), connect_timeout=2)
    with pytest.raises(ClusterError, match="stop it first"):
        await replication.rejoin(lag_s=0.0)
    await replication.standby.stop()
    await replication.rejoin(lag_s=0.0)
    assert 1 not in await numbers(replication.standby), "rewound"


async def _waits(server: PostgresServer) -> bool:
    return await ask(server, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == [(1,)]


async def test_after_a_switchover_both_addresses_lead_to_the_one_that_writes(
    replication: Replication,
) -> None:
    first, second = replication.primary, replication.standby
    dsn = first.engine_dsn("postgres", first.port, second.port)
    for expected in (second, first):
        await replication.primary.stop("fast")
        await replication.promote()
        await replication.rejoin(lag_s=0.0)
        async with await psycopg.AsyncConnection.connect(dsn) as engine:
            assert engine.info.port == expected.port
        await ask(expected, "INSERT INTO numbers VALUES (%s)", expected.port)
    assert {first.port, second.port} <= set(await numbers(first))


async def test_a_standby_that_lags_shows_the_past(replication: Replication) -> None:
    await replication.primary.stop("fast")
    await replication.promote()
    await replication.rejoin(lag_s=60.0)
    await ask(replication.primary, "INSERT INTO numbers VALUES (7)")
    assert 7 not in await numbers(replication.standby)
    await replication.standby.stop()
    await replication.rejoin(lag_s=0.0)


async def test_two_primaries_are_refused(replication: Replication) -> None:
    with pytest.raises(ClusterError, match="stop or crash it before its standby is promoted"):
        await replication.promote()


async def test_a_server_that_lagged_as_a_standby_has_forgotten_the_other_s_timeline(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Alone again it is on its old timeline, and the next promotion makes another one of the same number."""
    folder = tmp_path_factory.mktemp("again")
    async with PostgresServer(folder / "first.log") as first:
        await ask(first, "CREATE TABLE numbers (id int)")
        for number in range(2):
            made = Replication(first, folder / f"standby-{number}.log")
            await made.attach(synchronous=False)
            await first.stop("fast")
            await made.promote()
            await ask(made.primary, "INSERT INTO numbers VALUES (1)")
            await made.rejoin(lag_s=60.0)
            await made.detach()
            assert await numbers(first) == []

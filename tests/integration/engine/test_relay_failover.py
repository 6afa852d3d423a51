"""One node leads the relay; what happens when it goes, falls silent or only believes that it leads (contract 6.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from kafka_case import KafkaCase, logged, sample
from nodes import Running

from kafka_broker import CLIENTS
from patience import eventually
from windlass.store.queries import sql

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
]

LEADER = "workflow_engine_dispatch_relay_leader"


def leaders(*nodes: Running) -> list[Running]:
    return [node for node in nodes if sample(node, LEADER) == 1]


async def leader_row(node: Running) -> dict[str, Any]:
    (row,) = await node.rows("SELECT * FROM windlass_leader")
    return row


async def published(case: KafkaCase, node: Running, count: int) -> None:
    """Starts as many instances at that node and waits until all their events have gone."""
    for _ in range(count):
        await node.start()
    await case.drained(node)


async def test_one_leads_and_any_node_s_jobs_go_out(case: KafkaCase) -> None:
    first, second = await case.boot(), await case.boot()
    assert leaders(first, second) == [first]
    row = await leader_row(first)
    assert (row["name"], row["holder"], row["epoch"]) == ("relay", "node-1", 1)
    assert row["session_pid"] is not None
    held = await first.rows(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = $1 AND granted", row["session_pid"]
    )
    assert len(held) == 1
    await case.one_step(first)
    await published(case, second, 5)
    records = await case.broker.records_of(case.topic("a"))
    assert {r.headers["leader-epoch"] for r in records} == {b"1"}
    assert logged(second, "[dispatch] relay started; this replica is leader=false")
    details = second.engine.details()["relay"]
    assert isinstance(details, dict)
    assert (details["leader"], details["broker"]) == (False, "not asked")


async def test_a_leader_whose_session_ends_is_followed_at_once(case: KafkaCase, superuser: Any) -> None:
    first, second = await case.boot(), await case.boot()
    await case.one_step(first)
    row = await leader_row(first)
    began_s = asyncio.get_running_loop().time()
    await superuser.execute("SELECT pg_terminate_backend($1)", row["session_pid"])

    async def followed() -> bool:
        return bool((await leader_row(first))["epoch"] > row["epoch"])

    await eventually(followed)
    # Within the old leader's term of 3 s: nobody waited for its expiry.
    assert asyncio.get_running_loop().time() - began_s < 2.5
    assert logged(first, "dispatch: advisory lock session lost")

    async def settled() -> bool:
        return len(leaders(first, second)) == 1

    await eventually(settled)
    await published(case, first, 3)
    assert len(await case.events()) == 3


async def test_a_leader_that_stops_in_good_order_is_followed_at_once(case: KafkaCase) -> None:
    first, second = await case.boot(), await case.boot()
    await case.one_step(first)
    await first.node._shut_down()

    async def followed() -> bool:
        return leaders(second) == [second]

    await eventually(followed)
    assert (await leader_row(second))["epoch"] == 2
    await published(case, second, 2)


async def test_a_silent_leader_is_followed_when_its_term_is_over_and_can_remove_nothing(
    case: KafkaCase, dsn: str
) -> None:
    """A session that holds lock and row and does nothing, as one whose process is stopped."""
    node = await case.boot()
    await node.node._shut_down()
    silent = await asyncpg.connect(dsn)
    try:
        assert (await silent.fetchrow(sql("leader_try_lock")))["is_locked"]
        epoch = (await silent.fetchrow(sql("leader_take"), "silent", 3.0, True))["epoch"]
        standby = await case.boot()
        assert not leaders(standby)
        assert logged(standby, "[dispatch] relay started; this replica is leader=false")
        await case.one_step(standby)
        await standby.start()

        async def followed() -> bool:
            return leaders(standby) == [standby]

        await eventually(followed)
        row = await leader_row(standby)
        assert row["epoch"] == epoch + 1
        assert row["session_pid"] is None, "it leads without the lock, which the silent session has"
        await case.drained(standby)

        await standby.rows(
            "INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload) "
            "SELECT 'kept', id, instance_id, 'no-such-topic', '' FROM job"
        )
        assert await silent.fetchval(sql("leader_renew"), epoch, 3.0, True) is None
        settled = await silent.fetchrow(sql("outbox_settle"), epoch, "{kept}", "{kept}", 300.0, True)
        assert (settled["leads"], settled["published"], settled["dropped"]) == (False, 0, 0)
        assert len(await standby.rows("SELECT 1 FROM dispatch_outbox WHERE id = 'kept'")) == 1
    finally:
        await silent.close()

    async def has_the_lock() -> bool:
        return (await leader_row(standby))["session_pid"] is not None

    await eventually(has_the_lock)
    assert (await leader_row(standby))["epoch"] == epoch + 1, "the lock came to the one who leads"


async def test_a_standby_that_gets_the_lock_of_a_leader_without_it_leaves_it_alone(
    case: KafkaCase, dsn: str
) -> None:
    node = await case.boot()
    row = await leader_row(node)
    other = await asyncpg.connect(dsn)
    try:
        # Its lock and its session are still there, so even a session that claims the lock takes nothing.
        assert await other.fetchrow(sql("leader_take"), "other", 3.0, True) is None
        assert await other.fetchrow(sql("leader_take"), "other", 3.0, False) is None
    finally:
        await other.close()
    assert (await leader_row(node))["epoch"] == row["epoch"]


@pytest.mark.parametrize("case", CLIENTS, indirect=True)
async def test_while_the_broker_is_away_starts_succeed_and_afterwards_all_goes_out(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node)
    await published(case, node, 1)
    await case.broker.crash()
    try:
        instances = [await node.start(n=n) for n in range(300)]
        assert {i.status for i in instances} == {"ACTIVE"}

        async def noticed() -> bool:
            return bool((await node.engine.readiness()).degraded)

        await eventually(noticed, within_s=30)
        readiness = await node.engine.readiness()
        assert readiness.ready, "calls are answered all the same"
        assert "the broker is unreachable" in readiness.degraded[0]
        ages = await node.rows(
            "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s FROM pg_stat_activity "
            "WHERE application_name LIKE 'windlass/%' AND xact_start IS NOT NULL"
        )
        assert all(row["age_s"] < 2 for row in ages), ages
        assert len(await node.rows("SELECT 1 FROM dispatch_outbox")) == 300
    finally:
        await case.broker.start()
    await case.drained(node)
    events = await case.events()
    assert {i.id for i in instances} <= {event.instance_id for event in events}
    assert len({event.dedup_id for event in events}) == 301, "a repeated event has the same dedup id"

    async def well() -> bool:
        return not (await node.engine.readiness()).degraded

    await eventually(well)
    assert logged(node, "dispatch: broker unreachable")
    assert logged(node, "dispatch: broker reachable again")

"""What leaves the store is the engine's: errors in its words, named fields in place of rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.errors import BadRequest, Conflict, Unavailable
from windlass.store.jobs import Jobs
from windlass.store.leadership import LeaderSession
from windlass.store.nodes import NodeIdentity, Nodes
from windlass.store.schema import Schema
from windlass.store.session import SessionFailed

pytestmark = pytest.mark.asyncio(loop_scope="session")

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = $1 AND datname = current_database()"
)


async def half_written(one: Running, then: Callable[[Any], Awaitable[object]]) -> None:
    """A transaction that writes a row and goes on with `then`, given its connection."""
    async with one.database.transaction() as connection:
        await connection.execute("INSERT INTO audit_log (kind, actor) VALUES ('half', 'test')")
        await then(connection)


async def test_a_transaction_translates_what_the_driver_raises_and_rolls_back(one: Running) -> None:
    with pytest.raises(BadRequest, match="the database cannot take this value"):
        await half_written(one, lambda connection: connection.execute("SELECT $1::jsonb", "{"))
    assert await one.rows("SELECT 1 FROM audit_log WHERE kind = 'half'") == []


async def test_an_error_of_the_engine_passes_a_transaction_unchanged_and_rolls_it_back(one: Running) -> None:
    told = Conflict("no")

    async def refuse(_connection: object) -> None:
        raise told

    with pytest.raises(Conflict) as caught:
        await half_written(one, refuse)
    assert caught.value is told
    assert await one.rows("SELECT 1 FROM audit_log WHERE kind = 'half'") == []


async def test_a_transaction_whose_connection_is_lost_is_unavailable_and_the_pool_goes_on(
    one: Running, superuser: Any
) -> None:
    async def lose(connection: Any) -> None:
        await superuser.execute(KILL, "windlass/node-1/engine")
        await connection.fetchval("SELECT 1")

    # Told is what the statement met, not what cleaning up after it met.
    with pytest.raises(Unavailable, match=r"is unreachable \((?!.*(__aexit__|terminate))"):
        await half_written(one, lose)
    assert await one.rows("SELECT 1 FROM audit_log WHERE kind = 'half'") == []


async def test_a_session_tells_the_kind_of_the_drivers_error_and_that_it_has_ended(
    one: Running, superuser: Any
) -> None:
    ended = asyncio.Event()
    session = await one.database.session("test")
    session.on_termination(ended.set)
    with pytest.raises(SessionFailed) as refused:
        await session.execute("SELECT 1 FROM no_such_table")
    assert str(refused.value) == 'UndefinedTableError: relation "no_such_table" does not exist'
    with pytest.raises(SessionFailed, match="TimeoutError: "):
        await session.fetch_row("SELECT pg_sleep(5)", timeout_s=0.1)
    await superuser.execute(KILL, "windlass/node-1/test")
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(SessionFailed, match="InterfaceError: "):
        await session.fetch_row("SELECT 1")
    session.terminate()


async def test_the_lead_is_taken_once_renewed_by_its_epoch_and_left_vacant(one: Running) -> None:
    first, second = [
        await LeaderSession.open(one.database, within_s=5.0, answer_within_s=5.0, ended=lambda: None)
        for _ in range(2)
    ]
    assert (await first.try_lock(), first.is_locked) == (True, True)
    epoch = await first.take("first", 30.0)
    assert epoch == 1
    assert (await second.try_lock(), second.is_locked) == (False, False)
    assert await second.take("second", 30.0) is None
    assert await first.renew(epoch, 30.0)
    assert not await second.renew(epoch + 1, 30.0)
    await first.resign(epoch, 5.0)
    await first.unlock()
    assert not first.is_locked
    assert (await second.try_lock(), second.is_locked) == (True, True)
    assert await second.take("second", 30.0) == 2
    for session in (first, second):
        session.terminate()


async def test_a_lost_listener_is_reported_with_its_cause_and_comes_back(boot: Boot, superuser: Any) -> None:
    one = await boot()

    def logged(message: str) -> list[dict[str, Any]]:
        return [line for line in one.log_lines() if line["msg"] == message]

    await eventually(lambda: one.node.wake_ups.is_listening)
    await superuser.execute(KILL, "windlass/node-1/wake")
    await eventually(lambda: logged("wake: notifications restored"))
    (lost,) = logged("wake: degraded to polling")
    assert lost["err"].startswith(("ConnectionDoesNotExistError: ", "InterfaceError: "))


async def test_a_claim_deals_its_slots_oldest_first_and_tells_each_jobs_age(one: Running) -> None:
    await one.define(service("a", "end"), END)
    instances = [(await one.start(n=n)).id for n in range(3)]
    await one.rows("UPDATE job SET created_at = created_at - interval '1 minute'")
    claim = await Jobs(one.database).claim(
        ["do-a"], [1, 2, 1, 2], ["w1", "w2"], [5.0, 60.0], bytes_max=4_000_000
    )
    claimed = claim.jobs
    assert not claim.is_cut
    assert [(job.slot, job.view.worker_id) for job in claimed] == [(1, "w1"), (2, "w2"), (1, "w1")]
    assert [job.view.instance_id for job in claimed] == instances
    assert all(60 <= job.age_s < 90 for job in claimed)


async def test_lapsed_leases_are_freed_or_reported_once_they_lapsed_too_often(boot: Boot) -> None:
    one = await boot(WINDLASS_LEASE_SWEEP_SECONDS="600")
    jobs = Jobs(one.database)
    await one.define(service("a", "end"), END)
    await one.start()
    for freed, exhausted in ((1, 0), (0, 1)):
        (job,) = await one.poll("do-a")
        await one.rows("UPDATE job SET lock_expires_at = clock_timestamp() - interval '1 second'")
        lapsed = await jobs.expire_leases(10, 2, audit_enabled=True, outbox=None)
        assert (lapsed.freed_job_types, lapsed.exhausted_job_ids) == (["do-a"] * freed, [job.id] * exhausted)
        assert lapsed.looked_at == 1
        one.node.polls.wake(["do-a"])
    assert (await jobs.expire_leases(10, 0, audit_enabled=True, outbox=None)).freed_job_types == ["do-a"]


async def test_a_node_is_alive_while_it_is_seen_and_gone_when_it_leaves(one: Running) -> None:
    nodes = Nodes(one.database)
    began, is_shared = await nodes.beat(NodeIdentity("other", "api", "1.0", "polling"), None, 30.0)
    assert not is_shared
    (node,) = [node for node in await nodes.all(30.0) if node.id == "other"]
    assert (node.role, node.version, node.dispatch_mode, node.alive) == ("api", "1.0", "polling", True)
    assert node.started_at == began
    assert await nodes.beat(NodeIdentity("other", "api", "1.1", "polling"), began, 30.0) == (began, False)
    (node,) = [node for node in await nodes.all(30.0) if node.id == "other"]
    assert (node.started_at, node.last_seen_at > began, node.version) == (began, True, "1.1")
    assert [node.alive for node in await nodes.all(0.0) if node.id == "other"] == [False]
    await nodes.remove("other", began)
    assert "other" not in [node.id for node in await nodes.all(30.0)]


async def test_a_successor_of_the_same_name_keeps_its_row_when_the_old_process_leaves(one: Running) -> None:
    nodes, identity = Nodes(one.database), NodeIdentity("other", "api", "1.0", "polling")
    old, _ = await nodes.beat(identity, None, 30.0)
    new, is_shared = await nodes.beat(identity, None, 30.0)
    assert (new > old, is_shared) == (True, True)
    await nodes.remove("other", old)
    assert [node.started_at for node in await nodes.all(30.0) if node.id == "other"] == [new]
    # One that was silent for long is a predecessor, not a neighbour.
    assert not (await nodes.beat(identity, None, 0.0)).is_shared


async def test_processes_of_one_name_notice_each_other_and_a_restart_is_no_twin(boot: Boot) -> None:
    def told(node: Running) -> int:
        return sum("'twin'" in str(line.get("warning")) for line in node.log_lines())

    twin = {"WINDLASS_NODE_NAME": "twin", "WINDLASS_NODE_HEARTBEAT_SECONDS": "600"}
    first = await boot(**twin)
    # A boot is refused while the row shows the other; here it does not, as after a failover that has lost it.
    await first.rows("DELETE FROM windlass_node")
    second = await boot(**twin)
    await first.node.heartbeat.beat()
    assert told(second) == 0, "it may have been killed and started again"
    for _ in range(3):
        for node in (first, second):
            await node.node.heartbeat.beat()
            assert not node.node.wake_ups.is_alone
    assert (told(first), told(second)) == (1, 1)
    for _ in range(3):
        await first.node.heartbeat.beat()
    # The first of these still found the other's beat.
    assert not first.node.wake_ups.is_alone
    await first.node.heartbeat.beat()
    assert first.node.wake_ups.is_alone


async def test_the_schema_is_current_also_when_it_is_ahead(one: Running) -> None:
    schema = Schema(one.database)
    before = await schema.state()
    assert before == (before.needed, before.needed, True, "", "")
    await one.rows("INSERT INTO windlass_migration (version, name) VALUES ($1, 'later')", before.needed + 1)
    assert await schema.state() == (before.needed + 1, before.needed, True, "", "")
    await one.rows("DELETE FROM windlass_migration WHERE version >= $1", before.needed)
    assert await schema.state() == (before.needed - 1, before.needed, False, "", "")
    await one.rows("DROP TABLE schema_migrations")
    state = await schema.state()
    assert not state.is_current
    assert "no table public.schema_migrations" in state.refused

"""Polls: nobody gets a job twice, waiting ones hear of new jobs from anywhere, and what is not taken is given back."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg
import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.store.queries import sql

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_polls_of_many_workers_at_two_nodes_never_share_a_job(boot: Boot) -> None:
    nodes = [await boot(), await boot()]
    await nodes[0].define(service("a", "end"), END)
    await asyncio.gather(*(nodes[n % 2].start(n=n) for n in range(60)))
    got = await asyncio.gather(*(nodes[n % 2].poll("do-a", worker=f"w{n}", most=7) for n in range(16)))
    ids = [job.id for jobs in got for job in jobs]
    assert len(ids) == len(set(ids)) == 60
    assert max(map(len, got)) <= 7
    for jobs in got:
        assert [job.created_at for job in jobs] == sorted(job.created_at for job in jobs)


async def test_jobs_of_several_types_come_oldest_first(one: Running) -> None:
    for name in ("a", "b"):
        await one.define(service(name, "end"), END, id_=name)
    for name in ("a", "b", "a", "b"):
        await one.start(name)
    jobs = await one.poll("do-a", "do-b", "do-ghost", most=3)
    assert [job.job_type for job in jobs] == ["do-a", "do-b", "do-a"]
    assert [job.job_type for job in await one.poll("do-a", "do-b", most=3)] == ["do-b"]


async def test_a_failed_job_goes_to_the_tail_of_its_queue(one: Running) -> None:
    await one.define(service("a", "end", retryCount=1), END)
    first, second = await one.start(n=1), await one.start(n=2)
    (job,) = await one.poll("do-a", most=1)
    await one.fail(job)
    order = [(await one.poll("do-a", most=1))[0].instance_id for _ in range(2)]
    assert order == [second.id, first.id]


async def test_an_empty_poll_is_answered_from_memory_until_a_job_appears(
    boot: Boot, superuser: asyncpg.Connection
) -> None:
    one = await boot(WINDLASS_EMPTY_POLL_MEMORY_SECONDS="30", WINDLASS_FALLBACK_POLL_SECONDS="30")
    # Once it hears the others it looks again at all that it remembers.
    await eventually(lambda: one.node.wake_ups.is_listening)
    await one.define(service("a", "end"), END)
    # A session that begins to listen forgets what was empty.
    await eventually(lambda: one.node.wake_ups.is_listening)
    assert list(await one.poll("do-a")) == []
    async with superuser.transaction(), asyncio.timeout(5):
        # A statement about jobs would wait for this transaction.
        await superuser.execute("LOCK TABLE job")
        for _ in range(50):
            assert list(await one.poll("do-a")) == []
    await one.start()
    assert len(await one.poll("do-a")) == 1


async def test_a_job_made_while_a_poll_waits_is_inserted_already_leased(one: Running) -> None:
    await one.define(service("a", "end"), END)
    waiting = asyncio.create_task(one.poll("do-a", worker="early", wait_s=10, lease_s=7))
    await eventually(lambda: parked(one, 1))
    await one.start(x=1)
    (job,) = await waiting
    (row,) = await one.rows(
        "SELECT status, worker_id, lease_token, extract(epoch FROM lock_expires_at - locked_at)::float AS lease_s, "
        "xmin::text = (SELECT xmin::text FROM workflow_instance) AS written_once FROM job"
    )
    assert row == {
        "status": "LOCKED",
        "worker_id": "early",
        "lease_token": 1,
        "lease_s": 7.0,
        "written_once": True,
    }
    await one.complete(job, "early", token=job.lease_token)
    assert await one.status(job.instance_id) == "COMPLETED"


async def parked(one: Running, count: int) -> bool:
    return one.node.polls.parked == count


async def test_jobs_made_in_one_batch_are_shared_among_the_waiting_polls(one: Running) -> None:
    await one.define(service("a", "end"), END)
    waiting = [asyncio.create_task(one.poll("do-a", worker=f"w{n}", wait_s=5)) for n in range(4)]
    await eventually(lambda: parked(one, 4))
    await asyncio.gather(*(one.start(n=n) for n in range(8)))
    got = await asyncio.gather(*waiting)
    assert all(got), "every poll got some"


async def test_a_waiting_poll_at_another_node_hears_of_a_job(boot: Boot) -> None:
    """By NOTIFY: the fallback would take half a minute."""
    here, there = [await boot(WINDLASS_FALLBACK_POLL_SECONDS="30") for _ in range(2)]
    await here.define(service("a", "end"), END)
    for node in (here, there):
        await node.node.heartbeat.beat()
    waiting = asyncio.create_task(there.poll("do-a", wait_s=20))
    await eventually(lambda: parked(there, 1))
    await here.start()
    assert len(await asyncio.wait_for(waiting, 5)) == 1


async def test_without_notifications_the_fallback_finds_the_job(boot: Boot) -> None:
    here, there = [
        await boot(WINDLASS_WAKE_MODE="polling", WINDLASS_FALLBACK_POLL_SECONDS="0.2") for _ in range(2)
    ]
    await here.define(service("a", "end"), END)
    waiting = asyncio.create_task(there.poll("do-a", wait_s=20))
    await eventually(lambda: parked(there, 1))
    began = time.monotonic()
    await here.start()
    assert len(await asyncio.wait_for(waiting, 10)) == 1
    assert time.monotonic() - began < 5


async def test_event_driven_asks_nothing_between_events_but_hears_them(
    boot: Boot, superuser: asyncpg.Connection
) -> None:
    here, there = [
        await boot(WINDLASS_WAKE_MODE="event_driven", WINDLASS_FALLBACK_POLL_SECONDS="0.05") for _ in range(2)
    ]
    await here.define(service("a", "end"), END)
    for node in (here, there):
        await node.node.heartbeat.beat()
    await eventually(lambda: here.node.wake_ups.is_listening and there.node.wake_ups.is_listening)
    waiting = asyncio.create_task(there.poll("do-a", wait_s=20))
    await eventually(lambda: parked(there, 1))
    async with superuser.transaction():
        # Whoever looks for jobs waits for this transaction, and is seen waiting.
        await superuser.execute("LOCK TABLE job")
        await asyncio.sleep(0.5)
        looks = await superuser.fetch(
            "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with($1, query)",
            sql("job_claim"),
        )
        assert not looks, "ten fallback intervals, no look"
    await here.start()
    assert len(await asyncio.wait_for(waiting, 10)) == 1


async def test_a_poll_on_a_node_that_has_just_come_hears_of_jobs(boot: Boot) -> None:
    """Before any heartbeat has counted it."""
    here, there = [
        await boot(
            WINDLASS_NODE_NAME=name,
            WINDLASS_WAKE_MODE="event_driven",
            WINDLASS_NODE_HEARTBEAT_SECONDS="600",
        )
        for name in ("first", "second")
    ]
    await here.define(service("a", "end"), END)
    waiting = asyncio.create_task(there.poll("do-a", wait_s=20))
    await eventually(lambda: there.node.polls.parked == 1 and not here.node.wake_ups.is_alone)
    await here.start()
    assert len(await asyncio.wait_for(waiting, 10)) == 1


async def test_a_waiting_poll_ends_empty_when_its_time_is_over(one: Running) -> None:
    began = time.monotonic()
    assert list(await one.poll("do-nothing", wait_s=0.3)) == []
    assert time.monotonic() - began >= 0.3


async def test_a_poll_that_went_away_gives_its_jobs_back_at_once(one: Running) -> None:
    await one.define(service("a", "end"), END)
    waiting = asyncio.create_task(one.poll("do-a", worker="gone", wait_s=10))
    await eventually(lambda: parked(one, 1))
    start = asyncio.create_task(one.start())
    while not waiting.done() and not any(
        m.parked and next(iter(m.parked)).reserved for m in one.node.polls._types.values()
    ):
        await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await start
    (job,) = await one.poll("do-a", worker="next", wait_s=5)
    assert (job.worker_id, job.lease_token) == ("next", "2")


async def test_leases_of_a_node_that_stops_are_not_left_to_lapse(boot: Boot) -> None:
    one = await boot()
    await one.define(service("a", "end"), END)
    waiting = [asyncio.create_task(one.poll("do-a", wait_s=20)) for _ in range(3)]
    await eventually(lambda: parked(one, 3))
    one.node.polls.stop()
    await one.node.polls.drain()
    assert [list(jobs) for jobs in await asyncio.gather(*waiting)] == [[], [], []]

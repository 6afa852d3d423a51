"""Changing the mode, in every direction and half way: nothing is lost and nothing is stranded (contract 6.7)."""

from __future__ import annotations

import pytest
from kafka_case import KafkaCase, logged
from nodes import END, Running

from patience import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
]


async def stop(node: Running) -> None:
    await node.node._shut_down()


async def test_jobs_left_waiting_by_polling_mode_are_dispatched(case: KafkaCase) -> None:
    polling = await case.boot_polling()
    await case.one_step(polling)
    instances = [await polling.start(n=n) for n in range(3)]
    assert await polling.rows("SELECT 1 FROM dispatch_outbox") == []
    await stop(polling)
    node = await case.boot()

    async def adopted() -> bool:
        return len(await case.events()) == 3

    await eventually(adopted, within_s=30)
    assert logged(node, "dispatch: dispatched jobs left waiting by polling mode")[0]["count"] == 3
    for event in await case.events():
        await node.complete(event.job_id)
    assert {await node.status(i.id) for i in instances} == {"COMPLETED"}


async def test_what_a_poller_holds_at_the_switch_is_its_own_until_its_lease_lapses(case: KafkaCase) -> None:
    polling = await case.boot_polling()
    await case.one_step(polling)
    kept, lapsed = await polling.start(), await polling.start()
    jobs = {job.instance_id: job for job in await polling.poll(case.job_type("a"), lease_s=1.5)}
    await polling.rows(
        "UPDATE job SET lock_expires_at = lock_expires_at + interval '1 hour' WHERE instance_id = $1", kept.id
    )
    await stop(polling)
    node = await case.boot(WINDLASS_LEASE_SWEEP_SECONDS="0.2")

    async def one_event() -> bool:
        return len(await case.events()) == 1

    await eventually(one_event, within_s=30)
    (event,) = await case.events()
    assert event.instance_id == lapsed.id
    await node.complete(jobs[kept.id], token=jobs[kept.id].lease_token)
    await node.complete(event.job_id)
    assert {await node.status(kept.id), await node.status(lapsed.id)} == {"COMPLETED"}


async def test_back_to_polling_leaves_rows_and_loses_no_job(case: KafkaCase) -> None:
    node = await case.boot()
    await node.define(case.step("nowhere"), END)
    instances = [await node.start() for _ in range(3)]
    assert len(await node.rows("SELECT 1 FROM dispatch_outbox")) == 3
    await stop(node)

    polling = await case.boot_polling()
    jobs = await polling.poll(case.job_type("nowhere"))
    assert {job.instance_id for job in jobs} == {i.id for i in instances}
    done, given_back, failed = jobs
    await polling.complete(done)
    assert len(await polling.rows("SELECT 1 FROM dispatch_outbox")) == 3, (
        "history: neither published nor removed"
    )
    assert "kafka" not in str(polling.log_lines()).lower()
    await polling.fail(failed, retryable=False)
    await polling.rows("UPDATE job SET lock_expires_at = now() WHERE id = $1", given_back.id)
    await stop(polling)

    await case.topics("nowhere")
    again = await case.boot(WINDLASS_LEASE_SWEEP_SECONDS="0.2")
    await case.drained(again)

    async def back() -> bool:
        return given_back.id in {event.job_id for event in await case.events("nowhere")}

    await eventually(back, within_s=30)
    assert {event.job_id for event in await case.events("nowhere")} == {given_back.id}, (
        "the others need no handler"
    )
    await again.complete(given_back.id)
    statuses = {i.id: await again.status(i.id) for i in instances}
    assert statuses[failed.instance_id] == "FAILED"
    assert [s for id, s in statuses.items() if id != failed.instance_id] == ["COMPLETED"] * 2


async def test_a_job_lost_by_the_broker_before_a_round_trip_through_polling_comes_again(
    case: KafkaCase,
) -> None:
    node = await case.boot(WINDLASS_REDELIVERY_SECONDS="1")
    await case.one_step(node)
    await node.start()
    await case.drained(node)
    await stop(node)
    await stop(await case.boot_polling())
    again = await case.boot(WINDLASS_REDELIVERY_SECONDS="1")

    async def twice() -> bool:
        return len(await case.events()) >= 2

    await eventually(twice, within_s=30)
    await again.complete((await case.events())[0].job_id)


async def test_while_both_modes_live_pollers_are_given_time(case: KafkaCase) -> None:
    polling = await case.boot_polling()
    node = await case.boot(WINDLASS_REDELIVERY_SECONDS="600")
    await case.one_step(polling)
    from_polling = [await polling.start() for _ in range(2)]
    from_kafka = await node.start()
    await case.drained(node)
    assert {event.instance_id for event in await case.events()} == {from_kafka.id}
    (job, *_) = await polling.poll(case.job_type("a"), most=1)
    await polling.complete(job)
    await stop(polling)

    async def the_rest_is_adopted() -> bool:
        return {e.instance_id for e in await case.events()} >= {i.id for i in from_polling} - {
            job.instance_id
        }

    await eventually(the_rest_is_adopted, within_s=30)
    for event in await case.events():
        await node.complete(event.job_id)
    for instance in (*from_polling, from_kafka):
        assert await node.status(instance.id) == "COMPLETED"


async def test_an_event_whose_job_a_poller_took_first_is_dropped_and_comes_again(case: KafkaCase) -> None:
    node = await case.boot(WINDLASS_LEASE_SWEEP_SECONDS="0.2")
    polling = await case.boot_polling(WINDLASS_LEASE_SWEEP_SECONDS="3600")
    await node.define(case.step("later"), END)
    instance = await node.start()
    (job,) = await polling.poll(case.job_type("later"), lease_s=3600)
    await case.topics("later")
    await case.drained(node)
    assert await case.events("later") == [], "its poller has it"
    await node.rows("UPDATE job SET lock_expires_at = now() WHERE id = $1", job.id)

    async def dispatched() -> bool:
        return [event.job_id for event in await case.events("later")] == [job.id]

    await eventually(dispatched, within_s=30)
    await node.complete(job.id)
    assert await node.status(instance.id) == "COMPLETED"

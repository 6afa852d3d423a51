"""Mode kafka_outbox on a real broker: a job's way to its topic and back, and what may stand in it (contract 6.2)."""

from __future__ import annotations

import json
import struct
from itertools import pairwise

import pytest
from kafka_case import KafkaCase, logged, sample
from nodes import END

from kafka_broker import CLIENTS
from patience import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("case", CLIENTS, indirect=True),
]

TOO_LARGE = "x" * 1_100_000
"""More than a record may hold."""


def java_partition(key: bytes, partitions: int) -> int:
    """Where the Java client puts a key: its 32-bit murmur2, the sign bit off, by the number of partitions."""
    mix, seed, mask = 0x5BD1E995, 0x9747B28C, 0xFFFFFFFF
    hash_ = (seed ^ len(key)) & mask
    whole = len(key) - len(key) % 4
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        mixed = word * mix & mask
        mixed ^= mixed >> 24
        hash_ = (hash_ * mix & mask) ^ (mixed * mix & mask)
    if rest := key[whole:]:
        hash_ = (hash_ ^ int.from_bytes(rest, "little")) * mix & mask
    hash_ ^= hash_ >> 13
    hash_ = hash_ * mix & mask
    hash_ ^= hash_ >> 15
    return (hash_ & 0x7FFFFFFF) % partitions


async def test_a_job_travels_to_its_topic_and_is_completed(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node, retryCount=2)
    instance = await node.start(who="Ada")
    await case.drained(node)
    (record,) = await case.broker.records_of(case.topic("a"))
    (event,) = await case.events()
    (job,) = await node.rows("SELECT * FROM job")
    assert record.key == instance.id.encode()
    headers = record.headers
    assert headers["content-type"] == b"application/x-protobuf; proto=workflow.v1.JobDispatchEvent"
    assert headers["dedup-id"].decode() == event.dedup_id
    assert (event.schema_version, event.job_id, event.instance_id) == (1, job["id"], instance.id)
    assert (event.step_execution_id, event.job_type) == (job["step_execution_id"], case.job_type("a"))
    assert (event.retries_remaining, json.loads(event.job_payload)) == (2, {"who": "Ada"})
    assert event.created_at.ToDatetime() == job["created_at"].replace(tzinfo=None)
    assert job["status"] == "UNLOCKED"
    audit = await node.rows(
        "SELECT actor, instance_id, detail FROM audit_log WHERE kind = 'DISPATCHED_VIA_BROKER'"
    )
    assert [(a["actor"], a["instance_id"], json.loads(a["detail"])) for a in audit] == [
        ("dispatch-relay", instance.id, {"job_id": job["id"]})
    ]
    await node.complete(event.job_id, said="Hello")
    assert await node.status(instance.id) == "COMPLETED"
    assert await node.variables(instance.id) == {"who": "Ada", "said": "Hello"}
    assert sample(node, 'workflow_engine_dispatch_relay_publish_total{result="success"}') == 1
    assert sample(node, 'workflow_engine_dispatch_relay_publish_total{result="error"}') == 0
    assert sample(node, "workflow_engine_dispatch_relay_leader") == 1


async def test_a_retry_is_a_new_event_with_one_retry_less(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node, retryCount=1)
    instance = await node.start(n=1)
    await case.drained(node)
    (first,) = await case.events()
    await node.engine.fail_job(
        first.job_id, worker_id="any", lease_token=None, error_message="no", retryable=True
    )
    await case.drained(node)
    old, new = await case.events()
    assert old == first
    assert new.job_id == first.job_id
    assert new.dedup_id > first.dedup_id
    assert (first.retries_remaining, new.retries_remaining) == (1, 0)
    assert json.loads(new.job_payload) == {"n": 1}
    assert new.created_at == first.created_at, "the job's own, for a retry"
    await node.engine.fail_job(
        new.job_id, worker_id="any", lease_token=None, error_message="no", retryable=True
    )
    assert await node.status(instance.id) == "FAILED"
    assert await node.rows("SELECT 1 FROM dispatch_outbox") == []


async def test_events_of_one_instance_keep_their_order(case: KafkaCase) -> None:
    """Also when one step makes many of them: no two of one line are under way at once."""
    node = await case.boot(WE_OUTBOX_BATCH_SIZE="7")
    await case.topics("b")
    branches = [f"b{number}" for number in range(12)]
    fork = {"id": "f", "type": "PARALLEL_GATEWAY", "parallelNextSteps": branches, "joinStep": "j"}
    same_type = [case.step(name, "j", jobType=case.job_type("b")) for name in branches]
    await node.define(fork, *same_type, {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"}, END)
    instances = [await node.start() for _ in range(5)]
    await case.drained(node)
    records = await case.broker.records_of(case.topic("b"))
    assert len(records) == 60
    for instance in instances:
        own = [r for r in records if r.key == instance.id.encode()]
        ids = [r.headers["dedup-id"] for r in own]
        assert len(own) == 12
        assert all(before < after for before, after in pairwise(ids)), "dedup ids rise as they were written"
        assert {r.partition for r in own} == {java_partition(instance.id.encode(), 2)}


async def test_a_missing_topic_holds_up_nobody_else(case: KafkaCase) -> None:
    node = await case.boot()
    await node.define(case.step("missing"), END, id_="waits")
    await case.one_step(node)

    async def warned() -> bool:
        return bool(logged(node, "dispatch: topic cannot be published to"))

    await eventually(warned)
    (line,) = logged(node, "dispatch: topic cannot be published to")
    assert line["topic"] == case.topic("missing")
    assert "UNKNOWN_TOPIC_OR_PART" in line["err"]
    series = f'windlass_dispatch_topic_unusable{{topic="{case.topic("missing")}"}}'
    assert sample(node, series) == 1

    waiting = [await node.start("waits") for _ in range(3)]
    for _ in range(20):
        await node.start()

    async def all_but_those() -> bool:
        rows = await node.rows("SELECT DISTINCT job_type FROM dispatch_outbox")
        return [row["job_type"] for row in rows] == [case.job_type("missing")]

    await eventually(all_but_those)
    assert len(await case.events()) == 20
    readiness = await node.engine.readiness()
    assert (readiness.ready, list(readiness.reasons)) == (True, [])
    assert case.topic("missing") in readiness.degraded[0]
    assert case.topic("missing") not in await case.broker.topics(), "never created by asking"

    await node.engine.cancel_instance(waiting[0].id, reason="no longer wanted")
    await case.topics("missing")
    await case.drained(node)
    events = await case.events("missing")
    assert sorted(e.instance_id for e in events) == sorted(i.id for i in waiting[1:]), (
        "the cancelled one's is dropped"
    )
    assert logged(node, "dispatch: dropped events that nobody waits for")[0]["count"] == 1

    async def all_well() -> bool:
        return sample(node, series) == 0 and not (await node.engine.readiness()).degraded

    await eventually(all_well, within_s=40)


async def test_a_record_that_is_too_large_holds_up_its_own_line_only(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node)
    poison = await node.start(big=TOO_LARGE)
    others = [await node.start() for _ in range(5)]

    async def only_poison_left() -> bool:
        rows = await node.rows("SELECT instance_id FROM dispatch_outbox")
        return [row["instance_id"] for row in rows] == [poison.id]

    await eventually(only_poison_left)
    assert {e.instance_id for e in await case.events()} == {i.id for i in others}
    (line, *_) = logged(node, "dispatch: record refused by the broker")
    assert "MSG_SIZE_TOO_LARGE" in line["err"]
    assert line["topic"] == case.topic("a")
    errors = sample(node, 'workflow_engine_dispatch_relay_publish_total{result="error"}')
    assert errors is not None
    assert errors >= 1
    assert (sample(node, 'workflow_engine_kafka_producer_errors_total{code="MSG_SIZE_TOO_LARGE"}') or 0) >= 1
    await node.start()
    await eventually(only_poison_left)
    await node.engine.cancel_instance(poison.id, reason="too large")
    await case.drained(node)


async def test_a_job_that_nobody_completes_is_dispatched_again(case: KafkaCase) -> None:
    node = await case.boot(WINDLASS_REDELIVERY_SECONDS="0.6")
    await case.one_step(node)
    instance = await node.start(n=1)

    async def twice() -> bool:
        return len(await case.events()) >= 2

    await eventually(twice, within_s=30)
    first, second = (await case.events())[:2]
    assert second.job_id == first.job_id
    assert json.loads(second.job_payload) == json.loads(first.job_payload) == {"n": 1}
    assert second.dedup_id != first.dedup_id, "workers drop a repeated one for ten minutes"
    assert (sample(node, "windlass_dispatch_redeliveries_total") or 0) >= 1
    await node.complete(first.job_id, by="the first")
    await node.complete(first.job_id, by="the second")
    assert await node.status(instance.id) == "COMPLETED"
    assert await node.variables(instance.id) == {"n": 1, "by": "the first"}

    async def forgotten() -> bool:
        return await node.rows("SELECT 1 FROM windlass_job_dispatch") == []

    await eventually(forgotten, within_s=30)
    assert await node.rows("SELECT 1 FROM dispatch_outbox") == []


async def test_each_further_redelivery_waits_twice_as_long(case: KafkaCase) -> None:
    node = await case.boot(WINDLASS_REDELIVERY_SECONDS="100")
    await case.one_step(node)
    await node.start()
    await case.drained(node)
    waits = []
    for _ in range(3):
        (row,) = await node.rows(
            "SELECT deliveries, extract(epoch FROM deadline - clock_timestamp())::float8 AS wait_s"
            " FROM windlass_job_dispatch"
        )
        waits.append((row["deliveries"], round(row["wait_s"] / 100)))
        await node.rows("UPDATE windlass_job_dispatch SET deadline = clock_timestamp() - interval '1 second'")

        async def again() -> bool:
            return bool(
                await node.rows("SELECT 1 FROM windlass_job_dispatch WHERE deadline > clock_timestamp()")
            )

        await eventually(again)
    assert waits == [(1, 1), (2, 2), (3, 4)]


async def test_the_audit_switch_keeps_its_rows_away_and_the_marker_stays(case: KafkaCase) -> None:
    node = await case.boot(WE_AUDIT_LOG_ENABLED="false")
    await case.one_step(node)
    await node.start()
    await case.drained(node)
    assert await node.rows("SELECT 1 FROM audit_log") == []
    assert len(await node.rows("SELECT 1 FROM windlass_job_dispatch WHERE deadline IS NOT NULL")) == 1


async def test_a_start_that_never_waits_writes_no_event(case: KafkaCase) -> None:
    node = await case.boot()
    await node.define(END)
    assert (await node.start()).status == "COMPLETED"
    assert await node.rows("SELECT 1 FROM dispatch_outbox") == []


async def test_lag_is_shown_for_topics_that_nobody_reads(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node)
    await node.start()
    await case.drained(node)
    topic, group = case.topic("a"), f"workflow.workers.{case.job_type('a')}"

    async def shown() -> bool:
        lags = [
            sample(
                node,
                f'workflow_engine_kafka_consumer_lag_seconds{{group="{group}",partition="{n}",topic="{topic}"}}',
            )
            for n in range(2)
        ]
        known = [lag for lag in lags if lag is not None]
        return len(known) == len(lags) and max(known) > 0 and min(known) == 0

    await eventually(shown, within_s=40)

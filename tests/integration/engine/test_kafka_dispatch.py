"""Mode kafka_outbox on a real broker: a job's way to its topic and back (contract 6.2, 6.3)."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio
from kafka_case import KafkaCase
from nodes import Boot, eventually

from kafka_broker import KafkaBroker

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def case(boot: Boot, broker: KafkaBroker) -> KafkaCase:
    return KafkaCase(boot, broker)


async def test_a_job_travels_to_its_topic_and_is_completed(case: KafkaCase) -> None:
    node = await case.boot()
    await case.one_step(node, retryCount=2)
    instance = await node.start(who="Ada")

    async def gone() -> bool:
        return await node.rows("SELECT 1 FROM dispatch_outbox") == []

    await eventually(gone)
    (record,) = await case.broker.records(case.topic("a"))
    (event,) = await case.events()
    (job,) = await node.rows("SELECT * FROM job")
    assert record.key() == instance.id.encode()
    headers = dict(record.headers() or [])
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

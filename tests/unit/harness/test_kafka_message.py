"""What is read in a record of Kafka, and what is not taken for a job."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seatrial.cluster.kafka.message import KafkaRecord, decoded
from seatrial.gen.workflow_pb2 import JobDispatchEvent
from seatrial.workload.broker_worker import delivered


def event(**changes: Any) -> bytes:
    fields = {
        "schema_version": 1, "dedup_id": "D1", "job_id": "J1", "instance_id": "I1", "step_execution_id": "S1",
        "job_type": "pay", "retries_remaining": 2, "job_payload": b'{"amount": 7}',
    }  # fmt: skip
    made = JobDispatchEvent(**{**fields, **changes})
    made.created_at.FromJsonString("2026-11-25T12:00:00Z")
    encoded: bytes = made.SerializeToString()
    return encoded


def record(value: bytes, **headers: bytes) -> KafkaRecord:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return KafkaRecord("workflow.jobs.pay", 3, 41, 1_000, b"I1", value, named)


def test_a_delivery_says_all_that_the_event_does() -> None:
    read = decoded(record(event()))
    assert read.event is not None
    assert read.event.variables == {"amount": 7}
    assert delivered(read.event, read.place(), repeated=False) == {
        "job_id": "J1", "instance_id": "I1", "step_execution_id": "S1", "job_type": "pay", "retries_remaining": 2,
        "dedup_id": "D1", "destination": "workflow.jobs.pay", "partition": 3, "position": 41,
        "created_at": "2026-11-25T12:00:00+00:00", "repeated": False,
    }  # fmt: skip


def test_what_stands_beside_the_body_is_read_from_key_and_headers() -> None:
    read = decoded(record(event(), dedup_id=b"D9", leader_epoch=b"7"))
    assert (read.ordering_key, read.envelope_dedup_id, read.epoch, read.at_ms) == ("I1", "D9", 7, 1_000)
    for headers in ({}, {"leader_epoch": b"seven"}):
        bare = decoded(record(event(), **headers))
        assert (bare.envelope_dedup_id, bare.epoch) == (None, None)


def test_a_job_may_carry_nothing() -> None:
    read = decoded(record(event(job_payload=b"")))
    assert read.event is not None
    assert read.event.variables == {}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"\xff\xff\xff", "DecodeError"),
        (b"", "without job_id"),
        (event(job_id=""), "without job_id"),
        (event(job_payload=b"[1]"), msgspec.ValidationError.__name__),
        (event(job_payload=b"{"), msgspec.DecodeError.__name__),
    ],
    ids=["no protobuf", "no value", "no job", "a list", "no JSON"],
)
def test_what_is_no_event_keeps_its_place_and_says_why(value: bytes, cause: str) -> None:
    read = decoded(record(value))
    assert read.event is None
    assert cause in read.cause
    assert read.place() == {"destination": "workflow.jobs.pay", "partition": 3, "position": 41}

"""What a Kafka worker reads in a message, and what it will not take for a job."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError

from seatrial.gen.workflow_pb2 import JobDispatchEvent
from seatrial.workload.kafka_worker import decoded


class Message:
    """As confluent_kafka.Message, which only its own library can make."""

    def __init__(self, value: bytes | None) -> None:
        self._value = value

    def value(self) -> bytes | None:
        return self._value

    def topic(self) -> str:
        return "workflow.jobs.pay"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 41


def event(**changes: Any) -> bytes:
    fields = {
        "schema_version": 1, "dedup_id": "D1", "job_id": "J1", "instance_id": "I1", "step_execution_id": "S1",
        "job_type": "pay", "retries_remaining": 2, "job_payload": b'{"amount": 7}',
    }  # fmt: skip
    made = JobDispatchEvent(**{**fields, **changes})
    made.created_at.FromJsonString("2026-11-25T12:00:00Z")
    encoded: bytes = made.SerializeToString()
    return encoded


def read(value: bytes | None) -> Any:
    return decoded(Message(value))  # type: ignore[arg-type]


def test_a_delivery_says_all_that_the_event_does() -> None:
    delivery = read(event())
    assert delivery.job.variables == {"amount": 7}
    assert delivery.recorded(repeated=False) == {
        "job_id": "J1", "instance_id": "I1", "step_execution_id": "S1", "job_type": "pay", "retries_remaining": 2,
        "dedup_id": "D1", "topic": "workflow.jobs.pay", "partition": 3, "offset": 41,
        "created_at": "2026-11-25T12:00:00+00:00", "repeated": False,
    }  # fmt: skip


def test_a_job_may_carry_nothing() -> None:
    assert read(event(job_payload=b"")).job.variables == {}


@pytest.mark.parametrize(
    "value",
    [b"\xff\xff\xff", None, event(job_id=""), event(job_payload=b"[1]"), event(job_payload=b"{")],
    ids=["no protobuf", "no value", "no job", "a list", "no JSON"],
)
def test_what_is_no_event_is_a_poison_message(value: bytes | None) -> None:
    with pytest.raises((DecodeError, ValueError, msgspec.DecodeError)):
        read(value)

"""What is in a topic of jobs: the record as Kafka keeps it, and the event in its value (contract 6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import confluent_kafka as kafka
import msgspec
from google.protobuf.message import DecodeError

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import JobEvent, Record, Undecodable
from seatrial.gen.workflow_pb2 import JobDispatchEvent

DEDUP_ID_HEADER = "dedup-id"
EPOCH_HEADER = "leader-epoch"


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """One record of a topic, undecoded; `at_ms` is the time that the topic keeps, since 1970."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]


def read(message: kafka.Message) -> KafkaRecord:
    """Raises ClusterError when it is an error in a message's place."""
    error = message.error()
    if error is not None:
        raise ClusterError(f"a record cannot be read: {error.str()}")
    headers: Any = message.headers() or []
    return KafkaRecord(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        int(message.timestamp()[1]),
        _bytes(message.key()),
        _bytes(message.value()),
        {name: _bytes(value) for name, value in headers},
    )


def decoded(found: KafkaRecord) -> Record:
    event, cause = None, ""
    try:
        event = event_of(found.value)
    except Undecodable as err:
        cause = str(err)
    headers = {name: value.decode(errors="replace") for name, value in found.headers.items()}
    epoch = headers.get(EPOCH_HEADER, "")
    return Record(
        destination=found.topic,
        partition=found.partition,
        position=found.offset,
        at_ms=found.at_ms,
        ordering_key=found.key.decode(errors="replace"),
        envelope_dedup_id=headers.get(DEDUP_ID_HEADER),
        epoch=int(epoch) if epoch.isdigit() else None,
        event=event,
        cause=cause,
    )


def event_of(value: bytes) -> JobEvent:
    """Raises Undecodable."""
    event = JobDispatchEvent()
    try:
        event.ParseFromString(value)
        variables = msgspec.json.decode(event.job_payload or b"{}", type=dict[str, Any])
    except (DecodeError, msgspec.DecodeError, ValueError) as err:
        raise Undecodable(f"{type(err).__name__}: {err}") from err
    if not event.job_id or not event.job_type:
        raise Undecodable("a JobDispatchEvent without job_id or job_type")
    return JobEvent(
        job_id=event.job_id,
        instance_id=event.instance_id,
        step_execution_id=event.step_execution_id,
        job_type=event.job_type,
        retries_remaining=event.retries_remaining,
        variables=variables,
        dedup_id=event.dedup_id,
        created_at=event.created_at.ToDatetime(UTC).isoformat(),
    )


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""

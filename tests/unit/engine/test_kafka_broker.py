"""Apache Kafka behind the broker's port: job types become topics, messages become records (contract 6.2)."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from windlass import errors
from windlass.api import faults
from windlass.config import BROKER_MODES, DISPATCH_MODES
from windlass.dispatch import brokers
from windlass.dispatch.broker import Message, Refusal, Scope
from windlass.dispatch.kafka import broker
from windlass.dispatch.kafka.broker import KafkaBroker
from windlass.dispatch.kafka.publisher import Record
from windlass.dispatch.kafka.topics import topic_of
from windlass.kafka_settings import KafkaSettings
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics

MISSING = "UNKNOWN_TOPIC_OR_PART: no such topic"


class Publisher:
    """What a `KafkaPublisher` is asked; topic workflow.jobs.lost is not there."""

    def __init__(self, errors: Any) -> None:
        self.errors = errors
        self.records: list[Record] = []

    async def unusable(self, topics: Collection[str]) -> Mapping[str, str]:
        return {topic: MISSING for topic in topics if topic == "workflow.jobs.lost"}

    async def publish(self, records: Sequence[Record]) -> Sequence[Refusal | None]:
        self.records += records
        return [
            Refusal(Scope.DESTINATION, "UNKNOWN_TOPIC_OR_PART", MISSING)
            if record.topic == "workflow.jobs.lost"
            else None
            for record in records
        ]

    async def handshake(self) -> None:
        """Succeeds."""

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("kafka_outbox")


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch, stream: io.BytesIO, metrics: Metrics) -> KafkaBroker:
    monkeypatch.setattr(broker, "kafka_publisher", lambda _, errors: Publisher(errors))
    settings = KafkaSettings(
        seed_brokers=("a:9093", "b:9093"),
        transport="sasl_scram_tls",
        sasl_username="me",
        sasl_password="secret",
        outbox_batch_size=7,
    )
    return KafkaBroker(settings, metrics.registry, Log("info", stream))


def publisher_of(kafka: KafkaBroker) -> Publisher:
    found: Any = kafka._publisher
    assert isinstance(found, Publisher)
    return found


def lines(stream: io.BytesIO, kafka: KafkaBroker) -> list[dict[str, Any]]:
    kafka._log.flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_message_becomes_a_record_with_key_and_headers(kafka: KafkaBroker) -> None:
    outcomes = await kafka.publish(
        [
            Message("send", "instance-1", b"body", "dedup-1", 4),
            Message("lost", "instance-1", b"", "dedup-2", 4),
        ]
    )
    assert [outcome and outcome.scope for outcome in outcomes] == [None, Scope.DESTINATION]
    assert publisher_of(kafka).records[0] == Record(
        "workflow.jobs.send",
        b"instance-1",
        b"body",
        (
            ("content-type", b"application/x-protobuf; proto=workflow.v1.JobDispatchEvent"),
            ("dedup-id", b"dedup-1"),
            ("leader-epoch", b"4"),
        ),
    )


async def test_what_is_unusable_is_told_by_job_type(kafka: KafkaBroker) -> None:
    assert await kafka.unusable(["send", "lost"]) == {"lost": MISSING}
    assert kafka.destination("send") == "workflow.jobs.send"
    assert kafka.batch_size == 7


async def test_boot_says_each_step_and_no_secret(kafka: KafkaBroker, stream: io.BytesIO) -> None:
    await kafka.check()
    await kafka.check_destinations(["send", "ship"])
    kafka.report_started()
    await kafka.close()
    assert [line["msg"] for line in lines(stream, kafka)] == [
        "[dispatch] mode=kafka_outbox",
        "[dispatch] kafka transport=sasl_scram_tls mechanism=SCRAM-SHA-512",
        "[dispatch] TLS handshake ok",
        "[dispatch] SASL auth ok as user=me",
        "kafka_outbox: validating topics",
        "[dispatch] validating topics: workflow.jobs.send,workflow.jobs.ship",
        "[dispatch] all topics present",
        "kafka_outbox: runtime started",
        "kafka_outbox: runtime stopped",
    ]
    assert b"secret" not in stream.getvalue()


async def test_a_topic_that_is_missing_refuses_the_boot_by_name(kafka: KafkaBroker) -> None:
    with pytest.raises(errors.BootRefused, match=r"workflow\.jobs\.lost \(UNKNOWN.*windlass topics --apply"):
        await kafka.check_destinations(["send", "lost"])


def test_the_client_s_errors_are_counted_by_name(kafka: KafkaBroker, metrics: Metrics) -> None:
    publisher_of(kafka).errors("_SSL")
    assert b'workflow_engine_kafka_producer_errors_total{code="_SSL"} 1.0' in metrics.exposition()


# -- modes


def test_each_mode_with_a_broker_has_its_factory_and_its_hint() -> None:
    assert set(brokers._FACTORIES) == set(BROKER_MODES) == set(DISPATCH_MODES) - {"polling"}
    for mode in BROKER_MODES:
        answer = json.loads(faults.answer(errors.PollDisabled(mode)).body)
        assert answer["dispatch_mode"] == mode
        assert mode in answer["message"]


def test_whoever_polls_is_told_the_topic_as_it_is_named() -> None:
    assert (
        topic_of("<jobType>") in json.loads(faults.answer(errors.PollDisabled("kafka_outbox")).body)["hint"]
    )

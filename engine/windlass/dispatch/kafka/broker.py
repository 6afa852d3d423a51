"""Apache Kafka behind the port `windlass.dispatch.broker.Broker`: job types become topics, messages become records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from prometheus_client import CollectorRegistry

from windlass.dispatch.broker import Message, Probe, Refusal
from windlass.dispatch.kafka import boot, event, lag
from windlass.dispatch.kafka.boot import KafkaEvent
from windlass.dispatch.kafka.choice import kafka_publisher
from windlass.dispatch.kafka.lag import LagProbe
from windlass.dispatch.kafka.metrics import KafkaMetrics
from windlass.dispatch.kafka.publisher import Record
from windlass.dispatch.kafka.topics import topic_of
from windlass.job_event import JobEvent
from windlass.kafka_settings import KafkaSettings
from windlass.telemetry.log import Log
from windlass.trace_context import parent_and_state


class KafkaBroker:
    """See `Broker` for what each method promises."""

    def __init__(self, settings: KafkaSettings, registry: CollectorRegistry, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._metrics = KafkaMetrics(registry)
        self._publisher = kafka_publisher(settings, lambda code: self._metrics.producer_errors(code).inc())

    @property
    def batch_size(self) -> int:
        return self._settings.outbox_batch_size

    @property
    def system(self) -> str:
        return "kafka"

    def destination(self, job_type: str) -> str:
        return topic_of(job_type)

    def encode(self, event_of_job: JobEvent) -> bytes:
        return event.encode(event_of_job)

    # -- boot

    async def check(self) -> None:
        await boot.check_connection(self._publisher, self._settings, self._log)

    async def check_destinations(self, job_types: Sequence[str]) -> None:
        await boot.check_topics(self._publisher, [topic_of(job_type) for job_type in job_types], self._log)

    def report_started(self) -> None:
        brokers = ",".join(self._settings.seed_brokers)
        self._log.info(KafkaEvent.RUNTIME_STARTED, transport=self._settings.transport, seed_brokers=brokers)

    # -- connection

    async def handshake(self) -> None:
        await self._publisher.handshake()

    async def unusable(self, job_types: Collection[str]) -> Mapping[str, str]:
        topics = {topic_of(job_type): job_type for job_type in job_types}
        found = await self._publisher.unusable(topics)
        return {topics[topic]: reason for topic, reason in found.items()}

    async def publish(self, messages: Sequence[Message]) -> Sequence[Refusal | None]:
        return await self._publisher.publish([_record(message) for message in messages])

    def recall(self) -> None:
        self._publisher.recall()

    def probes(self, leads: Callable[[], bool], job_types: Callable[[], Collection[str]]) -> Sequence[Probe]:
        probe = LagProbe(self._publisher, leads, job_types, self._metrics.consumer_lag, time.monotonic)
        return [Probe("consumer-lag", lag.INTERVAL_S, probe.look)]

    async def close(self) -> None:
        await self._publisher.close()
        self._log.info(KafkaEvent.RUNTIME_STOPPED)


def _record(message: Message) -> Record:
    """Key and headers are those of contract 6.2, and those of W3C trace context."""
    headers = [
        ("content-type", event.CONTENT_TYPE),
        ("dedup-id", message.dedup_id.encode()),
        ("leader-epoch", str(message.epoch).encode()),
    ]
    for name, value in zip(("traceparent", "tracestate"), parent_and_state(message.trace), strict=True):
        if value is not None:
            headers.append((name, value.encode()))
    return Record(topic_of(message.job_type), message.ordering_key.encode(), message.body, tuple(headers))

"""The series of contract 8.1 that only Kafka's mode has."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from windlass.telemetry.metrics import Children, Counts, ShowsEach


class KafkaMetrics:
    """Registered once, in the node's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        #: code, the client's name of the error
        self.producer_errors: Children[Counts] = Children(
            Counter(
                "workflow_engine_kafka_producer_errors_total",
                "Errors the broker's client reported",
                ("code",),
                registry=registry,
            ).labels
        )
        #: topic, group, partition
        self.consumer_lag: ShowsEach = Gauge(
            "workflow_engine_kafka_consumer_lag_seconds",
            "How long the oldest event a group has not committed has been in its partition",
            ("topic", "group", "partition"),
            registry=registry,
        )

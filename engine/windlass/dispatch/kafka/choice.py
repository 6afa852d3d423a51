"""Which of Kafka's clients is used. None is imported before it is chosen."""

from __future__ import annotations

from collections.abc import Callable

from windlass.dispatch.kafka.publisher import KafkaPublisher
from windlass.kafka_settings import KafkaSettings


def kafka_publisher(settings: KafkaSettings, errors: Callable[[str], None]) -> KafkaPublisher:
    """The client librdkafka, unless the operator gives a name for the brokers' certificates: librdkafka compares them
    only with the host it connects to, so kafka-python is used then; even when the name is a seed broker's host, since
    other brokers are advertised too.
    """
    if settings.transport == "sasl_scram_tls" and settings.tls_server_name:
        from windlass.dispatch.kafka.kafka_python import KafkaPythonPublisher

        return KafkaPythonPublisher(settings, errors)
    from windlass.dispatch.kafka.librdkafka import LibrdkafkaPublisher

    return LibrdkafkaPublisher(settings, errors)

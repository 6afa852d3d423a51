"""Which of Kafka's clients is used. None is imported before it is chosen."""

from __future__ import annotations

from collections.abc import Callable

from windlass.config import KafkaSettings
from windlass.dispatch.kafka.publisher import KafkaPublisher


def kafka_publisher(settings: KafkaSettings, errors: Callable[[str], None]) -> KafkaPublisher:
    """The usual client compares a certificate with the host it has dialled and with nothing else, so a name that the
    operator gives goes by the other one: even that of the seed brokers' host, for others are advertised.
    """
    if settings.transport == "sasl_scram_tls" and settings.tls_server_name:
        from windlass.dispatch.kafka.kafka_python import KafkaPythonPublisher

        return KafkaPythonPublisher(settings, errors)
    from windlass.dispatch.kafka.librdkafka import LibrdkafkaPublisher

    return LibrdkafkaPublisher(settings, errors)

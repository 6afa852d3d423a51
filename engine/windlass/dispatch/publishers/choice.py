"""Which of Kafka's clients is used. None is imported before it is chosen."""

from __future__ import annotations

from collections.abc import Callable

from windlass.config import KafkaSettings
from windlass.dispatch.publishers.kafka import KafkaPublisher


def kafka_publisher(settings: KafkaSettings, errors: Callable[[str], None]) -> KafkaPublisher:
    """The usual client compares a certificate with the host it has dialled and with nothing else, so a name of the
    operator's own goes by the other one.
    """
    if verifies_a_name_of_its_own(settings):
        from windlass.dispatch.publishers.kafka_python import KafkaPythonPublisher

        return KafkaPythonPublisher(settings, errors)
    from windlass.dispatch.publishers.librdkafka import LibrdkafkaPublisher

    return LibrdkafkaPublisher(settings, errors)


def verifies_a_name_of_its_own(settings: KafkaSettings) -> bool:
    """Whether WE_KAFKA_TLS_SERVER_NAME says anything that the seed brokers' hosts do not."""
    name = settings.tls_server_name
    if settings.transport != "sasl_scram_tls" or not name:
        return False
    hosts = {broker.rpartition(":")[0].strip("[]") for broker in settings.seed_brokers}
    return hosts != {name}

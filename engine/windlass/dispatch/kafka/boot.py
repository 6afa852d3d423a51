"""What Kafka adds to the boot sequence (contract 6.5): each line is logged once it is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windlass.dispatch.kafka.publisher import KafkaPublisher
from windlass.errors import BootRefused, Unavailable
from windlass.kafka_settings import KafkaSettings
from windlass.telemetry.log import Log


class KafkaEvent:
    """Every `msg` that only Kafka's mode has; operators search for them, as for those of `telemetry.events`."""

    MODE: Final = "[dispatch] mode=kafka_outbox"
    PLAINTEXT: Final = "[dispatch] kafka transport=plaintext brokers=[{brokers}]"
    SECURED: Final = "[dispatch] kafka transport=sasl_scram_tls mechanism={mechanism}"
    TLS_OK: Final = "[dispatch] TLS handshake ok"
    SASL_OK: Final = "[dispatch] SASL auth ok as user={user}"
    VALIDATING: Final = "[dispatch] validating topics: {topics}"
    TOPICS_PRESENT: Final = "[dispatch] all topics present"

    VALIDATING_COUNTED: Final = "kafka_outbox: validating topics"  # count, component
    RUNTIME_STARTED: Final = "kafka_outbox: runtime started"  # transport, seed_brokers
    RUNTIME_STOPPED: Final = "kafka_outbox: runtime stopped"


async def check_connection(publisher: KafkaPublisher, settings: KafkaSettings, log: Log) -> None:
    """Raises BootRefused naming the cause."""
    secured = settings.transport == "sasl_scram_tls"
    log.info(KafkaEvent.MODE)
    if secured:
        log.info(KafkaEvent.SECURED.format(mechanism=settings.sasl_mechanism))
    else:
        log.info(KafkaEvent.PLAINTEXT.format(brokers=",".join(settings.seed_brokers)))
    await publisher.handshake()
    if secured:
        log.info(KafkaEvent.TLS_OK)
        log.info(KafkaEvent.SASL_OK.format(user=settings.sasl_username))


async def check_topics(publisher: KafkaPublisher, topics: Sequence[str], log: Log) -> None:
    """Raises BootRefused naming each topic that cannot be published to, with the reason."""
    log.info(KafkaEvent.VALIDATING_COUNTED, count=len(topics), component="dispatch")
    log.info(KafkaEvent.VALIDATING.format(topics=",".join(topics) or "(none)"))
    try:
        unusable = await publisher.unusable(topics)
    except Unavailable as err:
        raise BootRefused(f"{err}; check WE_KAFKA_SEED_BROKERS") from err
    if unusable:
        told = ", ".join(f"{topic} ({reason})" for topic, reason in sorted(unusable.items()))
        raise BootRefused(
            f"stored definitions need topics that cannot be published to: {told}; create them, for example with "
            "windlass topics --apply, or let this principal describe and write them"
        )
    log.info(KafkaEvent.TOPICS_PRESENT)

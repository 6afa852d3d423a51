"""The harness's broker as tests of the engine use it: topics by name, and what is in one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from seatrial.cluster.kafka import KafkaServer
from seatrial.cluster.kafka_client import KafkaAdmin, Record


class KafkaBroker(KafkaServer):
    """One for many tests: each makes topics of its own and deletes none."""

    @property
    def address(self) -> str:
        """Of the plaintext door that is the engines'."""
        return str(self.engine_values(secured=False)["seedBrokers"])

    async def create(self, *topics: str, partitions: int = 2) -> None:
        await KafkaAdmin(self.access()).create_topics(topics, partitions=partitions)

    async def topics(self) -> Collection[str]:
        return await KafkaAdmin(self.access()).topics()

    async def records_of(self, topic: str) -> Sequence[Record]:
        """Everything in the topic now, by partition, in order of offsets."""
        found = await KafkaAdmin(self.access()).records([topic])
        return sorted(found, key=lambda record: (record.partition, record.offset))


def variables(values: Any) -> dict[str, str]:
    """The engine's environment for what the chart calls `kafka`."""
    names = {
        "seedBrokers": "WE_KAFKA_SEED_BROKERS",
        "transport": "WE_KAFKA_TRANSPORT",
        "saslUsername": "WE_KAFKA_SASL_USERNAME",
        "saslPassword": "WE_KAFKA_SASL_PASSWORD",
        "tlsCaPath": "WE_KAFKA_TLS_CA_PATH",
    }
    return {"WE_DISPATCH_MODE": "kafka_outbox", **{names[key]: value for key, value in values.items()}}

"""The harness's broker as tests of the engine use it: topics by name, and what is in one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import admin

from seatrial.cluster.kafka.admin import CALL_WITHIN_S
from seatrial.cluster.kafka.message import KafkaRecord
from seatrial.cluster.kafka.server import KafkaServer

CLIENTS = ("librdkafka", "kafka-python")


class KafkaBroker(KafkaServer):
    """One for many tests: each makes topics of its own and deletes none."""

    def values_by(self, client: str) -> Mapping[str, Any]:
        """What brings an engine here by that client of Kafka's: the second verifies a name that is no seed broker's."""
        if client == "librdkafka":
            return self.kafka_values(secured=False)
        return {**self.kafka_values(secured=True), "tlsServerName": "localhost"}

    @property
    def address(self) -> str:
        """Of the plaintext door that is the engines'."""
        return str(self.kafka_values(secured=False)["seedBrokers"])

    async def create(self, *topics: str, partitions: int = 2) -> None:
        await self.admin().create_topics(topics, partitions=partitions)

    async def put_user(self, name: str, password: str) -> None:
        await self.admin().put_user(name, password)

    async def let_create(self, user: str) -> None:
        """Topics of any name."""
        await self._rule(user, "*", admin.AclOperation.CREATE, admin.AclPermissionType.ALLOW)

    async def deny_writing(self, user: str, topic: str) -> None:
        await self._rule(user, topic, admin.AclOperation.WRITE, admin.AclPermissionType.DENY)

    async def limit_records(self, topic: str, bytes_max: int) -> None:
        """By the topic's own setting, which no client knows."""
        setting = admin.ConfigEntry(
            "max.message.bytes", str(bytes_max), incremental_operation=admin.AlterConfigOpType.SET
        )
        kind = admin.ConfigResource.Type.TOPIC
        await self._done(
            lambda client: client.incremental_alter_configs(
                [admin.ConfigResource(kind, topic, incremental_configs=[setting])]
            )
        )

    async def _rule(
        self, user: str, topic: str, operation: admin.AclOperation, permission: admin.AclPermissionType
    ) -> None:
        rule = admin.AclBinding(
            admin.ResourceType.TOPIC, topic, admin.ResourcePatternType.LITERAL, f"User:{user}", "*",
            operation, permission,
        )  # fmt: skip
        await self._done(lambda client: client.create_acls([rule]))

    async def _done(self, ask: Callable[[admin.AdminClient], Mapping[Any, Future[Any]]]) -> None:
        client = admin.AdminClient(self.access().configured())
        (future,) = ask(client).values()
        await asyncio.to_thread(future.result, CALL_WITHIN_S)

    async def topics(self) -> Collection[str]:
        return await self.admin().topics()

    async def records_of(self, topic: str) -> Sequence[KafkaRecord]:
        """Everything in the topic now, by partition, in order of offsets."""
        found = await self.admin().records([topic])
        return sorted(found, key=lambda record: (record.partition, record.offset))


def variables(values: Any) -> dict[str, str]:
    """The engine's environment for what the chart calls `kafka`."""
    names = {
        "seedBrokers": "WE_KAFKA_SEED_BROKERS",
        "transport": "WE_KAFKA_TRANSPORT",
        "saslMechanism": "WE_KAFKA_SASL_MECHANISM",
        "saslUsername": "WE_KAFKA_SASL_USERNAME",
        "saslPassword": "WE_KAFKA_SASL_PASSWORD",
        "tlsCaPath": "WE_KAFKA_TLS_CA_PATH",
        "tlsServerName": "WE_KAFKA_TLS_SERVER_NAME",
    }
    return {"WE_DISPATCH_MODE": "kafka_outbox", **{names[key]: value for key, value in values.items()}}

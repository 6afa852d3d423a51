"""A Kafka cluster that runs already. Only topics that a drill made are ever deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import BrokerLogin
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.broker import KafkaTopics
from seatrial.cluster.kafka.values import (
    KEY,
    MECHANISM,
    plaintext_lines,
    plaintext_values,
    secured_lines,
    secured_values,
)

_READY_WITHIN_S = 30.0


class ExternalKafka(KafkaTopics):
    """Plaintext without a login, else SASL over TLS; the same for engines and workers."""

    def __init__(self, brokers: str, login: BrokerLogin | None = None) -> None:
        super().__init__()
        self._brokers = brokers
        self._login = replace(login, mechanism=login.mechanism or MECHANISM) if login is not None else None

    async def start(self) -> None:
        """Raises ClusterError when it does not answer."""
        await self.until_ready(_READY_WITHIN_S)

    async def close(self) -> None:
        await self.clear()

    def access(self) -> KafkaAccess:
        if self._login is None:
            return KafkaAccess(self._brokers)
        return KafkaAccess.by_login(self._brokers, self._login, self._login.mechanism or MECHANISM)

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        """Raises ClusterError where `secured` is asked for and no login was given."""
        if self._login is not None:
            return {KEY: secured_values(self._brokers, self._login)}
        if secured:
            raise ClusterError(
                f"the drill speaks to the broker by SASL over TLS, and {self._brokers} was given without credentials; "
                "set SEATRIAL_KAFKA_USERNAME and SEATRIAL_KAFKA_PASSWORD"
            )
        return {KEY: plaintext_values(self._brokers)}

    def boot_lines(self, *, secured: bool) -> Sequence[str]:  # noqa: ARG002  there is one way in
        return plaintext_lines(self._brokers) if self._login is None else secured_lines(self._login.username)

    def secrets(self) -> Sequence[str]:
        return [self._login.password] if self._login is not None else []

    async def _create_topics(self, names: Iterable[str]) -> None:
        """Refuses a topic that exists already: its records belong to somebody."""
        wanted = set(names)
        if taken := wanted & await self.admin().topics():
            raise ClusterError(
                f"{self._brokers} has the topics {', '.join(sorted(taken))} already, and a drill must know every "
                "record of its topics; delete them, or give --brokers a cluster without them"
            )
        await super()._create_topics(wanted)

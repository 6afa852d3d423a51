"""How a client of librdkafka reaches a broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.cluster.broker import BrokerLogin, ConsumerAccess

#: the name of this kind of broker in brokers.py
KIND = "kafka"
_SERVERS = "bootstrap.servers"


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """`options` are librdkafka's and may hold credentials, so they are never shown."""

    bootstrap: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def configured(self) -> dict[str, Any]:
        """For any client of librdkafka."""
        return {
            _SERVERS: self.bootstrap,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
            **self.options,
        }

    def for_consumers(self) -> ConsumerAccess:
        return ConsumerAccess(KIND, {_SERVERS: self.bootstrap, **self.options})

    @staticmethod
    def of_consumer(access: ConsumerAccess) -> KafkaAccess:
        options = dict(access.settings)
        return KafkaAccess(options.pop(_SERVERS), options)

    @staticmethod
    def by_login(bootstrap: str, login: BrokerLogin, mechanism: str) -> KafkaAccess:
        """SASL over TLS."""
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": login.username,
            "sasl.password": login.password,
        }
        if login.ca_path:
            options["ssl.ca.location"] = login.ca_path
        return KafkaAccess(bootstrap, options)

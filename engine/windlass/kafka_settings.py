"""The variables of mode kafka_outbox, beside `config.py`, which reads them only in that mode: in mode polling no log
line may mention a broker (contract 6.5).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from windlass.secret_values import judge_authorities, judge_secret, read_brokers
from windlass.variable import Reader, declare

_KAFKA_MODE = "WE_DISPATCH_MODE=kafka_outbox"
_SASL_MODE = "WE_KAFKA_TRANSPORT=sasl_scram_tls"
_COUNT: dict[str, Any] = {"minimum": 1, "maximum": 1_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """The order is that of contract 7.2."""

    seed_brokers: tuple[str, ...] = declare(
        "WE_KAFKA_SEED_BROKERS",
        "brokers to contact first, host:port, separated by commas",
        yaml="kafka.seedBrokers",
        required_when=_KAFKA_MODE,
    )
    transport: str = declare(
        "WE_KAFKA_TRANSPORT",
        "how to connect to the brokers; there is no fallback",
        yaml="kafka.transport",
        choices=("plaintext", "sasl_scram_tls"),
        required_when=_KAFKA_MODE,
    )
    sasl_username: str | None = declare("WE_KAFKA_SASL_USERNAME", f"required with {_SASL_MODE}")
    sasl_password: str | None = declare(
        "WE_KAFKA_SASL_PASSWORD", f"required with {_SASL_MODE}; never logged", secret=True
    )
    sasl_mechanism: str = declare(
        "WE_KAFKA_SASL_MECHANISM",
        "SASL mechanism of the user",
        default="SCRAM-SHA-512",
        yaml="kafka.saslMechanism",
        choices=("SCRAM-SHA-256", "SCRAM-SHA-512"),
    )
    tls_ca_path: str | None = declare(
        "WE_KAFKA_TLS_CA_PATH", "PEM file of trusted CAs; unset = the system's", yaml="kafka.tlsCAPath"
    )
    tls_server_name: str | None = declare(
        "WE_KAFKA_TLS_SERVER_NAME",
        "name that each broker's certificate must contain, whatever host it is reached at; unset = that host",
        yaml="kafka.tlsServerName",
    )
    outbox_batch_size: int = declare(
        "WE_OUTBOX_BATCH_SIZE",
        "outbox rows published at a time",
        default=200,
        yaml="kafka.outboxBatchSize",
        **_COUNT,
    )


def read_kafka(reader: Reader) -> KafkaSettings:
    """What is wrong is recorded as a problem."""
    values: dict[str, Any] = {}
    for declared in dataclasses.fields(KafkaSettings):
        field, variable = declared.name, declared.metadata["variable"]
        found = values[field] = reader.read(variable)
        if field in {"sasl_username", "sasl_password"}:
            if (
                found is None
                and variable.name not in reader.unusable
                and values["transport"] == "sasl_scram_tls"
            ):
                reader.problem(variable, f"is required when {_SASL_MODE}", "set it from a Secret")
            else:
                judge_secret(reader, variable, found or "")
        elif field == "tls_ca_path" and found is not None:
            judge_authorities(reader, variable, found)
        elif field == "seed_brokers" and found is not None:
            values[field] = read_brokers(reader, variable, found)
    return KafkaSettings(**values)

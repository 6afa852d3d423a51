"""Chart values about Kafka, and the lines that an engine logs once it has connected to it (contract 6.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatrial.cluster.broker import BrokerLogin

#: the chart's key for all settings of the broker
KEY = "kafka"
DISPATCH_MODE = "kafka_outbox"
MECHANISM = "SCRAM-SHA-512"
_SECURED = "sasl_scram_tls"
_MODE_LINE = f"[dispatch] mode={DISPATCH_MODE}"


def plaintext_values(brokers: str) -> Mapping[str, Any]:
    """The values below the key `kafka`."""
    return {"seedBrokers": brokers, "transport": "plaintext"}


def secured_values(brokers: str, login: BrokerLogin) -> Mapping[str, Any]:
    """The same by SASL over TLS; the password makes it a secret."""
    return {
        "seedBrokers": brokers,
        "transport": _SECURED,
        **({"saslMechanism": login.mechanism} if login.mechanism else {}),
        "saslUsername": login.username,
        "saslPassword": login.password,
        "tlsCaPath": login.ca_path or "",
    }


def is_secured(values: Mapping[str, Any]) -> bool:
    return bool(_of(values).get("transport") == _SECURED)


def transport_values() -> Mapping[str, Any]:
    """An engine with these connects to its broker by SASL over TLS."""
    return {KEY: {"transport": _SECURED}}


def address_values(address: str) -> Mapping[str, Any]:
    return {KEY: {"seedBrokers": address}}


def completing_values(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values of a run's own broker that the chart requires and the operator's values lack."""
    is_told = bool(_of(values).get("existingSecret"))
    credentials = {"saslUsername": "x", "saslPassword": "x"} if is_secured(values) and not is_told else {}
    return {KEY: {"seedBrokers": "x:1", **credentials}}


def plaintext_lines(brokers: str) -> Sequence[str]:
    """`brokers` may be the beginning of the address."""
    return _MODE_LINE, f"[dispatch] kafka transport=plaintext brokers=[{brokers}"


def secured_lines(user: str) -> Sequence[str]:
    return (
        _MODE_LINE,
        f"[dispatch] kafka transport={_SECURED} mechanism={MECHANISM}",
        "[dispatch] TLS handshake ok",
        login_line(user),
    )


def topic_lines(topics: Iterable[str]) -> Sequence[str]:
    return (
        f"[dispatch] validating topics: {','.join(sorted(topics)) or '(none)'}",
        "[dispatch] all topics present",
    )


def login_line(user: str) -> str:
    return f"[dispatch] SASL auth ok as user={user}"


def _of(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return values.get(KEY) or {}

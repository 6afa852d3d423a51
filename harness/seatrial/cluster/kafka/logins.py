"""The logins that a secured Kafka must refuse, and those it must accept: the boots that T4 tries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.cluster.broker import BootCase
from seatrial.cluster.kafka.settings import ENGINE_USER
from seatrial.cluster.kafka.values import KEY, MECHANISM, login_line

_WRONG_PASSWORD = "not-the-password"  # noqa: S105  nobody has it
#: no certificate has this name
_OTHER_NAME = "broker.example.org"
#: The broker's certificate has this name, beside the address at which engines reach the broker.
_OWN_NAME = "localhost"


def refused(
    good: Mapping[str, Any], *, stranger: Mapping[str, Any], other_authority: Path, topics: Iterable[str]
) -> Sequence[BootCase]:
    """`good` is what stands below `kafka` for an engine that gets in, `stranger` for a user without any right."""
    no_file = str(Path(str(good["tlsCaPath"])).with_name("no-such-ca.crt"))
    cases = (
        ("wrong password", {**good, "saslPassword": _WRONG_PASSWORD}, ["SASL"]),
        ("no CA file", {**good, "tlsCaPath": no_file}, ["WE_KAFKA_TLS_CA_PATH", no_file]),
        ("another's CA", {**good, "tlsCaPath": str(other_authority)}, ["TLS"]),
        ("no rights", stranger, [*topics, "AUTHORIZATION_FAILED"]),
        ("wrong name", {**good, "tlsServerName": _OTHER_NAME}, ["TLS handshake", _OTHER_NAME]),
    )
    return [
        BootCase(name, {KEY: values}, expected, needles=[_WRONG_PASSWORD]) for name, values, expected in cases
    ]


def accepted(good: Mapping[str, Any]) -> Sequence[BootCase]:
    """By either mechanism, and by a name of the certificate that is not the address."""
    cases: Sequence[tuple[str, Mapping[str, str]]] = (
        ("SCRAM-SHA-256", {"saslMechanism": "SCRAM-SHA-256"}),
        ("SCRAM-SHA-512", {"saslMechanism": "SCRAM-SHA-512"}),
        ("a name of its own", {"tlsServerName": _OWN_NAME}),
    )
    return [
        BootCase(
            name,
            {KEY: {**good, **more}},
            [f"mechanism={more.get('saslMechanism', MECHANISM)}", login_line(ENGINE_USER)],
        )
        for name, more in cases
    ]

"""The registry of brokers, by name; to add one: a folder with an entry, and a line here.

Nothing else in the harness imports a broker's folder (`pyproject.toml`, import contracts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.broker import BrokerKind, Consumer, ConsumerAccess
from seatrial.cluster.kafka.entry import KAFKA

BROKERS: Mapping[str, BrokerKind] = {kind.name: kind for kind in (KAFKA,)}
#: used by drills that need any broker, and by --brokers
DEFAULT = KAFKA
#: the modes of drills that have a broker, for messages
WITH_BROKER = " or ".join([*BROKERS, "both"])


def kind_of_mode(mode: str) -> BrokerKind | None:
    """The broker of a drill with this mode: None for polling, the default for both. Raises KeyError for other words."""
    return None if mode == "polling" else DEFAULT if mode == "both" else BROKERS[mode]


def kind_of(values: Mapping[str, Any]) -> BrokerKind | None:
    """The broker through which an engine with these chart values sends its jobs; None when it does not."""
    mode = (values.get("engine") or {}).get("dispatchMode")
    return next((kind for kind in BROKERS.values() if kind.dispatch_mode == mode), None)


def new_consumer(access: ConsumerAccess, job_type: str, *, name: str, session_timeout_s: float) -> Consumer:
    """As `BrokerKind.new_consumer`, of the kind that the access is for."""
    make = BROKERS[access.broker].new_consumer
    return make(access, job_type, name=name, session_timeout_s=session_timeout_s)

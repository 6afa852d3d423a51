"""What a run was asked for: its options, and the error for what cannot be done as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seatrial.cluster.values import merge


class Misuse(Exception):
    """What was asked for cannot be done: names the thing, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run's choices; `replicas` None takes each drill's own number."""

    seed: int
    report_dir: Path
    backend: str = "local"
    """A name of `seatrial.cluster.backends.BACKENDS`."""
    replicas: int | None = None
    engine_command: str | None = None
    attach: tuple[str, ...] = ()
    attach_grpc: tuple[str, ...] = ()
    """host:port of the same replicas, in the same order."""
    chart: Path | None = None
    values: tuple[Path, ...] = ()
    transport: str = "rest"
    """What clients and workers speak, a name of `seatrial.client.TRANSPORTS`."""
    brokers: str | None = None
    """A Kafka cluster that runs already: host:port,host:port; None for one of the run's own."""
    broker_login: BrokerLogin | None = None
    node_image: str | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """SASL over TLS for `Options.brokers`; from the environment, never from arguments."""

    username: str
    password: str = field(repr=False)
    mechanism: str = "SCRAM-SHA-512"
    ca_path: str | None = None


def read_values(files: Sequence[Path]) -> dict[str, Any]:
    """As helm's -f, given several times. Raises Misuse for a file that is not a YAML mapping."""
    merged: dict[str, Any] = {}
    for path in files:
        try:
            found = yaml.safe_load(path.read_text())
        except OSError as err:
            raise Misuse(f"--values {path}: {err.strerror}; give a readable YAML file") from err
        except yaml.YAMLError as err:
            raise Misuse(f"--values {path}: not YAML: {' '.join(str(err).split())}") from err
        if not isinstance(found, dict | None):
            raise Misuse(f"--values {path}: holds a {type(found).__name__}; a values file is a mapping")
        merged = merge(merged, found or {})
    return merged

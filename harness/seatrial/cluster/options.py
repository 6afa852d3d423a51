"""The options of a run, and the error for a request that cannot be carried out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seatrial.cluster.broker import BrokerLogin


class Misuse(Exception):
    """The request cannot be carried out: names the thing, the value and the remedy."""


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
    """A broker that runs already: host:port,host:port; None for one of the run's own."""
    broker_login: BrokerLogin | None = None
    node_image: str | None = None
    context: str | None = None
    compose_file: Path | None = None
    compose_project: str | None = None
    """A compose project that runs already."""
    digests: Path | None = None
    """A JSON file of images by digest."""
    token: str | None = field(default=None, repr=False)
    """Sent with every call."""
    tls: bool = False
    """The run's own engines get certificates, and clients verify them."""
    ca_file: Path | None = None
    """PEM of the authorities of engines that run already."""

    @property
    def speaks_tls(self) -> bool:
        """Of engines that run already their addresses say it."""
        return self.tls or any(url.startswith("https://") for url in self.attach)

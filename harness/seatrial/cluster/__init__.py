"""The cluster under test: what every backend has, and how to ask one for what it can do beyond that.

What may be done to a cluster (kill a replica, cut its network, ...) is described by the small types of
`seatrial.cluster.ability` and `seatrial.cluster.broker`. A cluster hands out one object for each that it supports;
a drill that needs another is refused before it starts. Backends are listed in `seatrial.cluster.backends`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, cast

Ability = TypeVar("Ability")


class ClusterError(Exception):
    """The cluster could not be brought up or driven: names the thing, the value and the remedy."""


class MissingAbility(ClusterError):
    """The cluster does not support what was asked of it."""


@dataclass(frozen=True, slots=True)
class Replica:
    """`name` is stable over restarts (replica-0, ...); the addresses are what clients use."""

    name: str
    rest_url: str
    metrics_url: str | None
    grpc_address: str | None = None
    """host:port; None where gRPC is not spoken or not known."""
    token: str | None = field(default=None, repr=False)
    """What calls are made with; None where none is asked for."""
    ca_file: str | None = None
    """PEM of the authorities that its certificate is verified against; None: the system's."""

    @property
    def speaks_tls(self) -> bool:
        """At all of its addresses, or at none."""
        return self.rest_url.startswith("https://")


Entrance = Literal["replicas", "service"]


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What to bring up. `values` go into the chart as an operator's -f file would.

    With the entrance `replicas` clients choose a replica for each call. With `service` there is one address, and the
    cluster chooses who answers, as for its real users; only a backend whose pods come and go supports it.
    """

    replicas: int = 3
    values: Mapping[str, object] = field(default_factory=dict)
    #: replaces the container command of the chart; environment and ports stay (for mutants and other engines)
    engine_command: str | None = None
    folder: Path = Path()
    entrance: Entrance = "replicas"
    #: of the role admin, sent with every call; None = the engines ask for none
    token: str | None = field(default=None, repr=False)
    #: engines get a certificate of the run's own authority, and speak TLS at all addresses
    tls: bool = False


class Cluster(ABC):
    """The life cycle that every backend has. Whoever implements one calls `_offer` for each of its abilities.

    `words` describe the backend in messages, with their article: "an attached cluster".
    """

    is_shared: bool = False
    """Whether there may be instances that this run did not start; then only its own are looked at."""

    def __init__(self, spec: ClusterSpec, words: str) -> None:
        self.spec = spec
        self.words = words
        self._offered: dict[type, object] = {}

    @abstractmethod
    async def up(self) -> None:
        """Returns when every replica's readiness probe passes; raises ClusterError with the log's tail."""

    @abstractmethod
    async def down(self) -> None:
        """Heals every fault and removes everything that `up` made; safe to call twice and half-way."""

    @abstractmethod
    def replicas(self) -> Sequence[Replica]: ...

    def ability(self, kind: type[Ability]) -> Ability:
        """The object that does it. Raises MissingAbility."""
        if kind not in self._offered:
            raise MissingAbility(
                f"{self.words} does not have the ability {kind.__name__}; "
                f"add {kind.__name__} to the drill's needs, and run the drill on a backend that has it"
            )
        return cast("Ability", self._offered[kind])

    def has(self, kind: type) -> bool:
        return kind in self._offered

    def lacks(self, kinds: Iterable[type]) -> list[str]:
        """The names of those that it does not have."""
        return [kind.__name__ for kind in kinds if kind not in self._offered]

    @property
    def abilities(self) -> frozenset[type]:
        return frozenset(self._offered)

    def _offer(self, kind: type[Ability], ability: Ability) -> None:
        self._offered[kind] = ability

"""What an entry of the registry of backends says; `seatrial.cluster.backends` lists them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from seatrial.cluster import Cluster, ClusterSpec
from seatrial.cluster.broker import BrokerKind
from seatrial.cluster.options import Options

Say = Callable[[str], None]
"""Shows a line to the user who waits."""


class Services(ABC):
    """What the clusters of one run share on a backend (servers, a broker, nodes); each is made when first needed."""

    @abstractmethod
    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: BrokerKind | None) -> Cluster:
        """A cluster that is not yet up. With `broker` it uses the run's broker of that kind, emptied of old messages;
        with `restart` its replicas are started again when they end. Raises ClusterError.
        """

    @abstractmethod
    async def check(self) -> None:
        """Raises ClusterError if no drill could get a cluster, before the first one starts."""

    def images(self) -> Mapping[str, str]:
        """What the clusters run, by the names of their parts, once `check` has found out; empty where none is run."""
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Ends what was made; safe to call twice. Clusters must be down."""


class CoreSets(Protocol):
    """What a backend reads of a drill: to which core sets it belongs."""

    @property
    def core(self) -> bool: ...

    @property
    def on_kind(self) -> bool: ...

    @property
    def on_compose(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run a cluster. Importing a backend's entry must stay cheap: `open` imports what it needs."""

    name: str
    words: str
    """For messages, with its article."""
    chosen_by: str
    """How a user chooses it on the command line."""
    open: Callable[[Options, Mapping[str, Any], Say], Services]
    """Called with the options, the merged values files of the run, and how to show the user a line."""
    abilities: Callable[[Options], frozenset[type]]
    """What every cluster of a run with these options offers, given a broker."""
    refuse: Callable[[Options], None]
    """Raises Misuse for options that it does not support."""
    in_core: Callable[[CoreSets], bool]
    """Whether the drill belongs to the core set of this backend."""
    renders_chart: bool = True
    """Whether it runs what the chart says, so that chart and values are checked before anything starts."""
    own_options: tuple[str, ...] = ()
    """Attributes of Options that only this backend has a use for."""
    own_options_elsewhere: str = ""
    """The error when one of them is given with another backend; {backend} stands for that one's name."""

    programs: Mapping[type, Callable[[], str | None]] = field(default_factory=dict)
    """For abilities that need programs of this machine: what is to be installed, None when nothing is."""

    def uninstalled(self, needs: Iterable[type]) -> list[str]:
        """What these abilities need and this machine has not, in words with the remedy."""
        found = (self.programs[need]() for need in needs if need in self.programs)
        return [words for words in found if words is not None]

    def lacks(self, needs: Iterable[type], options: Options) -> list[str]:
        """The names of the abilities that a run with these options does not have."""
        offered = self.abilities(options)
        return [need.__name__ for need in needs if need not in offered]

"""The message broker as a port: what drills, workers, observation and checks need of one, in words that no broker owns.

Each broker is a folder beside this module, and `brokers.py` chooses among them. A *destination* is where the messages
of one job type go: a topic for Apache Kafka. Only the broker's folder knows how a job type becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from seatrial.cluster.kind.agent import NodeAgent
    from seatrial.cluster.kind.kube import Kube

CutMode = Literal["delay", "blackhole", "half-open", "refuse"]


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """The credentials of a broker that runs already; from the environment, never from arguments."""

    username: str
    password: str = field(repr=False)
    mechanism: str | None = None
    """None: what the broker's kind usually takes."""
    ca_path: str | None = None


@dataclass(frozen=True, slots=True)
class ConsumerAccess:
    """How a worker process reaches a broker. It may hold credentials, so it is neither shown nor written to a file."""

    broker: str
    """The name of its kind in `brokers.py`."""
    settings: Mapping[str, str] = field(repr=False)
    """Only the broker's own folder reads them."""


class JobEvent(msgspec.Struct, frozen=True):
    """One job as a broker hands it to a worker (contract 6.2)."""

    job_id: str
    instance_id: str
    step_execution_id: str
    job_type: str
    retries_remaining: int
    variables: dict[str, Any]
    dedup_id: str
    """May be empty: then no copy of it is dropped."""
    created_at: str


class Undecodable(Exception):
    """A message's body is no event with a job, a job type and a JSON object as payload."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message as a destination keeps it.

    Records of one partition are in the order of their positions; a destination without partitions has one, number 0.
    What is told beside the body is None where the message lacks it.
    """

    destination: str
    partition: int
    position: int
    at_ms: int
    """When the broker took it, by the broker's clock, since 1970."""
    ordering_key: str
    """Messages of one destination and key keep their order."""
    envelope_dedup_id: str | None
    """As it is told beside the body, for consumers that do not decode it."""
    epoch: int | None
    """Of the leader that published it."""
    event: JobEvent | None
    cause: str = ""
    """Why the body is no event; empty when it is one."""

    def place(self) -> dict[str, Any]:
        """Where it is, as the lines of history.py say it."""
        return {"destination": self.destination, "partition": self.partition, "position": self.position}


class AcknowledgeFailed(Exception):
    """The broker did not take an acknowledgement; the text is its own name of the error."""


class Consumer(Protocol):
    """What one worker takes of the jobs of one type, in competition with all other workers. One record at a time."""

    async def next(self) -> Record | None:
        """Waits a moment; None when nothing came."""
        ...

    async def acknowledge(self, record: Record) -> None:
        """It is not handed out again. Raises AcknowledgeFailed."""
        ...

    async def close(self) -> None:
        """What is not acknowledged goes to others at once."""
        ...


@dataclass(frozen=True, slots=True)
class BootCase:
    """One way to start an engine, and what it must say then, in this order where it serves."""

    name: str
    values: Mapping[str, Any]
    """Of the chart; they may hold a password, so they are never shown."""
    expected: Sequence[str]
    needles: Sequence[str] = ()
    """What must not be readable on the wire meanwhile."""


class Broker(Protocol):
    """The broker between engines and workers, whoever runs it."""

    async def start(self) -> None:
        """Returns when it answers."""
        ...

    async def close(self) -> None: ...

    async def until_ready(self, within_s: float) -> None:
        """Returns when it answers those who come past every proxy. Raises ClusterError with the last cause."""
        ...

    def consumer_access(self) -> ConsumerAccess:
        """For workers; no proxy in the path."""
        ...

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        """The chart's values that lead an engine here. They hold a password when `secured`: never shown."""
        ...

    def boot_lines(self, *, secured: bool) -> Sequence[str]:
        """What an engine logs, in this order, once it has met this broker."""
        ...

    def destination_lines(self, job_types: Iterable[str]) -> Sequence[str]:
        """What an engine logs after them, once it has found where jobs of these types go."""
        ...

    def secrets(self) -> Sequence[str]:
        """What must show in no log, in no report and on no wire."""
        ...

    def destination(self, job_type: str) -> str:
        """The name by which operators know where jobs of this type go."""
        ...

    async def create_destinations(self, job_types: Iterable[str]) -> None:
        """Those that were not made yet."""
        ...

    async def delete_destinations(self, job_types: Iterable[str]) -> None: ...

    def destinations(self) -> Mapping[str, str]:
        """By job type, those that `create_destinations` made and nobody has deleted."""
        ...

    async def clear(self) -> None:
        """Deletes the destinations that were made, so that the next drill begins with none."""
        ...

    async def records(self) -> list[Record]:
        """All that is in `destinations` now."""
        ...

    async def consumers(self, job_types: Iterable[str]) -> Mapping[str, AbstractSet[str]]:
        """By job type, the names of the workers that get its jobs; without the types whose workers are still being
        given their shares.
        """
        ...


class BrokerNetwork(Protocol):
    """The network between all engines and their broker."""

    async def cut(self, mode: CutMode, *, delay_s: float = 0.0) -> None:
        """As `Partition.cut`."""
        ...

    async def mend(self) -> None: ...

    def dropped_bytes(self) -> int: ...

    def cut_connections(self) -> int: ...


class BrokerInCluster(Broker, BrokerNetwork, Protocol):
    """One that runs beside the engines on Kubernetes."""


@runtime_checkable
class BrokerProcess(Broker, BrokerNetwork, Protocol):
    """A broker that may be broken."""

    async def crash(self) -> None:
        """SIGKILL; `start` is its heal."""
        ...

    async def stop(self) -> None: ...

    def capture(self) -> None:
        """What goes through the secured way is kept from now on, for each new connection; `clear` begins it too."""
        ...

    def captured(self) -> Sequence[bytes]:
        """Each direction of each connection since `capture`, from its first byte."""
        ...

    def refused_logins(self, job_types: Iterable[str]) -> Sequence[BootCase]:
        """Every way in which the secured broker turns away an engine that has jobs of these types to publish."""
        ...

    def accepted_logins(self) -> Sequence[BootCase]:
        """Every way in which an engine gets in."""
        ...


class NewConsumer(Protocol):
    def __call__(
        self, access: ConsumerAccess, job_type: str, *, name: str, session_timeout_s: float
    ) -> Consumer:
        """Under that name among its fellows; one that is gone for `session_timeout_s` loses its share to them."""
        ...


class NewPod(Protocol):
    def __call__(
        self, kube: Kube, agent: NodeAgent, namespace: str, *, image: str, address: str
    ) -> BrokerInCluster:
        """Not yet started; `address` is that of a node, by which the harness and the workers come in."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerKind:
    """What there is to know of a broker before one runs: the entry of its folder in `brokers.py`.

    Values are the chart's. The factories import their client library only when they are called.
    """

    name: str
    """A drill's mode, and the end of the ids of drills that are told in it."""
    dispatch_mode: str
    """`engine.dispatchMode` in the chart's values."""
    image: str
    """Where Kubernetes gets it from, unless the environment names another."""
    new_server: Callable[[Path, Callable[[str], None]], BrokerProcess]
    """One as a process on this machine, with the path of its log; the second takes a line for whoever waits."""
    new_external: Callable[[str, BrokerLogin | None], Broker]
    """One that runs already, at HOST:PORT,HOST:PORT; without a login it is spoken to in plaintext."""
    new_pod: NewPod
    new_consumer: NewConsumer
    secured_values: Mapping[str, Any]
    """An engine with these logs in, over TLS."""
    is_secured: Callable[[Mapping[str, Any]], bool]
    address_values: Callable[[str], Mapping[str, Any]]
    """An engine with these finds its broker at HOST:PORT."""
    completing_values: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """What the chart asks for beside an operator's values and a run brings itself."""

    @property
    def mode_values(self) -> Mapping[str, Any]:
        """An engine with these sends its jobs through the broker."""
        return {"engine": {"dispatchMode": self.dispatch_mode}}

    def variable(self, what: str) -> str:
        """The environment variable that tells the harness something about brokers of this kind."""
        return f"SEATRIAL_{self.name.upper()}_{what}"

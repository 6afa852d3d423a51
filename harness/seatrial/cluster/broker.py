"""The message broker as a port: what drills, workers, observation and checks need, in terms that fit every broker.

Each broker is a folder beside this module, and `brokers.py` chooses among them. A *destination* is where the messages
of one job type go: a topic for Apache Kafka. Only the broker's folder knows how a job type becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

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
    """None: the usual one for this kind of broker."""
    ca_path: str | None = None


@dataclass(frozen=True, slots=True)
class ConsumerAccess:
    """How a worker process reaches a broker. It may hold credentials, so it is never printed or written to a file."""

    broker: str
    """The name of its kind in `brokers.py`."""
    settings: Mapping[str, str] = field(repr=False)
    """Understood only by the broker's own folder."""


class JobEvent(msgspec.Struct, frozen=True):
    """One job as a broker hands it to a worker (contract 6.2)."""

    job_id: str
    instance_id: str
    step_execution_id: str
    job_type: str
    retries_remaining: int
    variables: dict[str, Any]
    dedup_id: str
    """May be empty; then repeated messages are not recognised."""
    created_at: str


class Undecodable(Exception):
    """The body is not an event with a job, a job type and a JSON object as payload."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message as a destination keeps it.

    Records of one partition are in the order of their positions; a destination without partitions has one, number 0.
    Values from the message's headers are None where it lacks them.
    """

    destination: str
    partition: int
    position: int
    at_ms: int
    """When the broker took it, by the broker's clock, since 1970."""
    ordering_key: str
    """Messages of one destination and key keep their order."""
    envelope_dedup_id: str | None
    """The id in the headers, for consumers that do not decode the body."""
    epoch: int | None
    """Of the leader that published it."""
    event: JobEvent | None
    cause: str = ""
    """Why the body is not an event; empty when it is one."""

    def place(self) -> dict[str, Any]:
        """Its place, with the names used in history.py."""
        return {"destination": self.destination, "partition": self.partition, "position": self.position}


class AcknowledgeFailed(Exception):
    """The broker did not take an acknowledgement; the text is its own name of the error."""


class Consumer(Protocol):
    """Gets jobs of one type for one worker, one record at a time; jobs are shared with all other workers."""

    async def next(self) -> Record | None:
        """Waits briefly; None when nothing came."""
        ...

    async def acknowledge(self, record: Record) -> None:
        """The message is not delivered again after this. Raises AcknowledgeFailed."""
        ...

    async def close(self) -> None:
        """Messages that were not acknowledged go to other workers at once."""
        ...


@dataclass(frozen=True, slots=True)
class BootCase:
    """One way to start an engine, and what it must log then; in this order if the boot succeeds."""

    name: str
    values: Mapping[str, Any]
    """Of the chart; they may hold a password, so they are never shown."""
    expected: Sequence[str]
    needles: Sequence[str] = ()
    """What must not be readable on the network meanwhile."""


class Broker(Protocol):
    """The broker between engines and workers, whoever runs it."""

    async def start(self) -> None:
        """Returns when it answers."""
        ...

    async def close(self) -> None: ...

    async def until_ready(self, within_s: float) -> None:
        """Returns when it answers on its direct address, without a proxy. Raises ClusterError with the last cause."""
        ...

    def consumer_access(self) -> ConsumerAccess:
        """How workers reach it: directly, without a proxy."""
        ...

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        """Chart values that make an engine use this broker. With `secured` they hold a password: never print them."""
        ...

    def boot_lines(self, *, secured: bool) -> Sequence[str]:
        """What an engine logs, in this order, once it has connected to this broker."""
        ...

    def destination_lines(self, job_types: Iterable[str]) -> Sequence[str]:
        """What an engine logs after that, once it has found the destinations of these job types."""
        ...

    def secrets(self) -> Sequence[str]:
        """What must not appear in any log or report, or on the network."""
        ...

    def destination(self, job_type: str) -> str:
        """The name by which operators know where jobs of this type go."""
        ...

    async def create_destinations(self, job_types: Iterable[str]) -> None:
        """Creates the destinations that do not exist yet."""
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
        """By job type, the names of the workers that get its jobs; without the types whose jobs are still being
        redistributed among their workers.
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


class BrokerProcess(Broker, BrokerNetwork, Protocol):
    """A broker that may be broken."""

    async def crash(self) -> None:
        """SIGKILL; `start` is its heal."""
        ...

    async def stop(self) -> None: ...

    def capture(self) -> None:
        """Keeps the bytes on the secured listener from now on, for each new connection; `clear` begins it too."""
        ...

    def captured(self) -> Sequence[bytes]:
        """Each direction of each connection since `capture`, from its first byte."""
        ...

    def refused_logins(self, job_types: Iterable[str]) -> Sequence[BootCase]:
        """Every way in which the secured broker refuses an engine that has jobs of these types to publish."""
        ...

    def accepted_logins(self) -> Sequence[BootCase]:
        """Every way in which it accepts an engine."""
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
        """Not yet started; `address` is that of a node, which the harness and the workers connect to."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerKind:
    """Describes a kind of broker before one runs: the entry of its folder in `brokers.py`.

    Values are the chart's. The factories import their client library only when they are called.
    """

    name: str
    """A drill's mode, and the suffix of the ids of drills that run with this broker."""
    dispatch_mode: str
    """`engine.dispatchMode` in the chart's values."""
    image: str
    """The image on Kubernetes, unless the environment names another."""
    new_server: Callable[[Path, Callable[[str], None]], BrokerProcess]
    """Makes one as a process on this machine. Called with the path of its log and a way to show the user a line."""
    new_external: Callable[[str, BrokerLogin | None], Broker]
    """Connects to one that runs already, at HOST:PORT,HOST:PORT; in plaintext without a login."""
    new_pod: NewPod
    new_consumer: NewConsumer
    secured_values: Mapping[str, Any]
    """Chart values with which an engine logs in, over TLS."""
    is_secured: Callable[[Mapping[str, Any]], bool]
    address_values: Callable[[str], Mapping[str, Any]]
    """Chart values with which an engine finds its broker at HOST:PORT."""
    completing_values: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """Chart values that the chart requires beside the operator's, and that a run can fill in itself."""

    @property
    def mode_values(self) -> Mapping[str, Any]:
        """Chart values with which an engine sends its jobs through the broker."""
        return {"engine": {"dispatchMode": self.dispatch_mode}}

    def variable(self, what: str) -> str:
        """The name of an environment variable of the harness about brokers of this kind."""
        return f"SEATRIAL_{self.name.upper()}_{what}"

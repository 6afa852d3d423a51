"""The broker as a port: what the outbox mode and its relay need of one, in terms that fit every broker.

Each broker is a folder beside this module, and `brokers.py` chooses among them. A *destination* is where the messages
of one job type go: a topic for Apache Kafka.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol

from windlass.job_event import JobEvent


class Message(NamedTuple):
    job_type: str
    ordering_key: str
    """Messages of one job type and key reach consumers in the order in which they were published."""
    body: bytes
    """As `Broker.encode` made it."""
    dedup_id: str
    epoch: int
    """The epoch of the leader that publishes it."""
    trace: str | None = None
    """Handed on with it, as the broker's clients expect it (`trace_context.py`)."""


class Scope(Enum):
    """What a refusal applies to."""

    MESSAGE = auto()
    """This message is not accepted; others to the same destination may be."""
    DESTINATION = auto()
    """The destination is missing or closed to this principal."""
    BROKER = auto()
    """The broker accepts nothing at present."""


class Refusal(NamedTuple):
    scope: Scope
    code: str
    """The broker's own name of the error."""
    text: str


class Probe(NamedTuple):
    """A measurement that only this broker has, repeated every `interval_s` seconds while the broker is reachable."""

    name: str
    interval_s: float
    look: Callable[[], Awaitable[None]]
    """Sets metrics of the broker's own. Raises Unavailable when the broker does not answer."""


class Broker(Protocol):
    """Implementations run blocking work in threads of their own, and bound the time of every call."""

    @property
    def batch_size(self) -> int:
        """How many messages one batch of the relay holds at most."""
        ...

    @property
    def system(self) -> str:
        """Its name in OpenTelemetry's conventions, `messaging.system`."""
        ...

    def destination(self, job_type: str) -> str:
        """The name by which operators know where messages of this type go."""
        ...

    def encode(self, event: JobEvent) -> bytes:
        """A job as consumers receive it; stored in the outbox, published later as `Message.body`."""
        ...

    # -- boot

    async def check(self) -> None:
        """Connects, and logs each step once it has succeeded. Raises BootRefused naming the cause and the remedy."""
        ...

    async def check_destinations(self, job_types: Sequence[str]) -> None:
        """Checks the destinations and logs that. Raises BootRefused naming what is missing, and the remedy."""
        ...

    def report_started(self) -> None:
        """Called once, when the node's relay has been started."""
        ...

    # -- connection

    async def handshake(self) -> None:
        """Connects and gets one answer. Raises BootRefused that names the cause."""
        ...

    async def unusable(self, job_types: Collection[str]) -> Mapping[str, str]:
        """Job types whose destinations cannot be published to, with the reason. Creates none. Raises Unavailable."""
        ...

    async def publish(self, messages: Sequence[Message]) -> Sequence[Refusal | None]:
        """One outcome per message: None once the broker has stored it as durably as it is configured to."""
        ...

    def recall(self) -> None:
        """Gives up messages that have not left this process yet."""
        ...

    def probes(self, leads: Callable[[], bool], job_types: Callable[[], Collection[str]]) -> Sequence[Probe]:
        """For the node that runs the relay; on one that does not lead their series disappear.

        `job_types`: those whose destinations are usable.
        """
        ...

    async def close(self) -> None: ...

"""What the relay asks of a broker. `publishers/` holds one module a broker, none of which knows the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Scope(Enum):
    """How far a refusal reaches."""

    RECORD = auto()
    """This record will not do; others of its topic may."""
    TOPIC = auto()
    """The topic is missing or closed to us."""
    BROKER = auto()
    """Nothing gets through just now."""


class Refusal(NamedTuple):
    scope: Scope
    code: str
    """The broker's own name of the error."""
    text: str


class PartitionEnds(NamedTuple):
    """Offsets of one partition: where its records end, and what a group has committed, -1 when nothing."""

    end: int
    committed: int


class Publisher(Protocol):
    """Blocking work happens in threads of its own; a call never takes longer than its own bound."""

    async def handshake(self) -> None:
        """Meets the broker. Raises BootRefused that names the cause."""
        ...

    async def unusable(self, topics: Collection[str]) -> Mapping[str, str]:
        """Those that cannot be published to, each with the reason. Never creates one. Raises Unavailable."""
        ...

    async def publish(self, records: Sequence[Record]) -> Sequence[Refusal | None]:
        """One outcome a record: None when all in-sync replicas have it."""
        ...

    async def ends(self, topic: str, group: str) -> Mapping[int, PartitionEnds]:
        """By partition. Raises Unavailable."""
        ...

    def recall(self) -> None:
        """Gives up what has not left this process yet."""
        ...

    async def close(self) -> None: ...

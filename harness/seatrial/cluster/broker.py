"""The message broker between engines and workers, as drills see it, whoever runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from seatrial.cluster.kafka_client import Access, Record

#: partitions of a topic of jobs, as the chart's page advises
PARTITIONS = 8
CutMode = Literal["delay", "blackhole", "half-open", "refuse"]


class Broker(Protocol):
    """What a drill may ask of the Kafka cluster between engines and workers, whoever runs it."""

    async def start(self) -> None:
        """Returns when it answers."""
        ...

    async def close(self) -> None: ...

    def access(self) -> Access:
        """For workers and for observation; no proxy in the path."""
        ...

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        """The chart's `kafka` values that lead an engine here. Holds a password: never shown."""
        ...

    def secrets(self) -> Sequence[str]:
        """What must show in no log, in no report and on no wire."""
        ...

    async def create_topics(self, names: Iterable[str]) -> None:
        """Those that were not made yet."""
        ...

    async def delete_topics(self, names: Iterable[str]) -> None: ...

    async def clear(self) -> None:
        """Deletes the topics that `create_topics` made, so that the next drill begins with none."""
        ...

    async def records(self) -> list[Record]:
        """Every record of the topics that were made."""
        ...

    async def members(self, groups: Iterable[str]) -> dict[str, dict[str, int]]:
        """Of each consumer group that is at rest: its members' client ids and how many partitions each has."""
        ...


class BrokerNetwork(Protocol):
    """The network between all engines and their broker."""

    async def cut(self, mode: CutMode, *, delay_s: float = 0.0) -> None:
        """As `Partition.cut`."""
        ...

    async def mend(self) -> None: ...

    def dropped_bytes(self) -> int: ...

    def cut_connections(self) -> int: ...


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

    def stranger_values(self) -> Mapping[str, Any]:
        """As `engine_values` of the secured way, for a user who may log in and may do nothing."""
        ...

    def other_authority(self) -> Path:
        """A CA file that did not sign the broker's certificate."""
        ...

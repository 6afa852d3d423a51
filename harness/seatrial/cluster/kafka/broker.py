"""What every Kafka has, whoever runs it: the topics of job types, what is in them, and who consumes from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from seatrial.cluster.broker import ConsumerAccess, Record
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.admin import KafkaAdmin
from seatrial.cluster.kafka.message import decoded
from seatrial.cluster.kafka.names import PARTITIONS, group_of, topic_of
from seatrial.cluster.kafka.values import topic_lines


class KafkaTopics(ABC):
    """The part of the port `Broker` that is the same for all of them."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        """Job types whose topics the harness created."""

    @abstractmethod
    def access(self) -> KafkaAccess:
        """No proxy in the path."""

    async def until_ready(self, within_s: float) -> None:
        await self.admin().until_ready(within_s)

    def consumer_access(self) -> ConsumerAccess:
        return self.access().for_consumers()

    def destination(self, job_type: str) -> str:
        return topic_of(job_type)

    def destinations(self) -> Mapping[str, str]:
        return {job_type: topic_of(job_type) for job_type in sorted(self._made)}

    def destination_lines(self, job_types: Iterable[str]) -> Sequence[str]:
        return topic_lines(map(topic_of, job_types))

    async def create_destinations(self, job_types: Iterable[str]) -> None:
        fresh = set(job_types) - self._made
        if fresh:
            await self._create_topics(map(topic_of, fresh))
            self._made |= fresh

    async def delete_destinations(self, job_types: Iterable[str]) -> None:
        """Only topics that the harness created."""
        ours = set(job_types) & self._made
        await self.admin().delete_topics(map(topic_of, ours))
        self._made -= ours

    async def clear(self) -> None:
        await self.delete_destinations(set(self._made))

    async def records(self) -> list[Record]:
        found = await self.admin().records(map(topic_of, self._made))
        return [decoded(each) for each in found]

    async def consumers(self, job_types: Iterable[str]) -> Mapping[str, AbstractSet[str]]:
        """Read from the members of the type's group, once they share all its partitions."""
        groups = {group_of(job_type): job_type for job_type in job_types}
        members = await self.admin().members(groups) if groups else {}
        return {
            groups[group]: shares.keys()
            for group, shares in members.items()
            if sum(shares.values()) >= PARTITIONS
        }

    def admin(self) -> KafkaAdmin:
        return KafkaAdmin(self.access())

    async def _create_topics(self, names: Iterable[str]) -> None:
        await self.admin().create_topics(names)

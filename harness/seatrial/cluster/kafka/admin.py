"""What the harness itself asks of a broker: topics, users, rights, and every record there is.

librdkafka's calls block, so each public coroutine runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import confluent_kafka as kafka
from confluent_kafka import admin

from seatrial.cluster import ClusterError
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.message import KafkaRecord, read
from seatrial.cluster.kafka.names import PARTITIONS
from seatrial.deadline import Deadline, until_blocking

CALL_WITHIN_S = 20.0
_ATTEMPT_S = 2.0
_LOOK_INTERVAL_S = 0.05


class KafkaAdmin:
    def __init__(self, access: KafkaAccess) -> None:
        self._access = access

    async def until_ready(self, within_s: float) -> None:
        """Returns when it answers; raises ClusterError with the last cause."""
        await asyncio.to_thread(self._until_ready, within_s)

    async def topics(self) -> set[str]:
        return await asyncio.to_thread(self._topics)

    async def create_topics(self, names: Iterable[str], *, partitions: int = PARTITIONS) -> None:
        """Returns when they can be written; one that is there already is an error."""
        await asyncio.to_thread(self._create_topics, sorted(names), partitions)

    async def delete_topics(self, names: Iterable[str]) -> None:
        """Deletes them and their consumers' offsets; returns when the broker's metadata no longer has them."""
        await asyncio.to_thread(self._delete_topics, sorted(names))

    async def put_user(self, name: str, password: str) -> None:
        """Creates a user who may log in by SCRAM-SHA-256 and by SCRAM-SHA-512."""
        await asyncio.to_thread(self._put_user, name, password)

    async def grant(self, user: str, topic_prefix: str, group_prefix: str) -> None:
        """Grants what a relay needs: describe and write topics, describe groups and their offsets."""
        await asyncio.to_thread(self._grant, user, topic_prefix, group_prefix)

    async def records(self, topics: Iterable[str]) -> list[KafkaRecord]:
        """All that is in these topics now, by topic, partition and offset."""
        return await asyncio.to_thread(lambda: list(self._records(sorted(topics))))

    async def members(self, groups: Iterable[str]) -> dict[str, dict[str, int]]:
        """For each stable consumer group: its members' client ids and how many partitions each has."""
        return await asyncio.to_thread(self._members, sorted(groups))

    # -- the blocking side ---------------------------------------------------------------------

    def _client(self) -> admin.AdminClient:
        return admin.AdminClient(self._access.configured())

    def _until_ready(self, within_s: float) -> None:
        client = self._client()
        cause = ""
        for _ in Deadline(within_s).attempts(0):  # the call itself waits
            try:
                client.list_topics(timeout=_ATTEMPT_S)
            except kafka.KafkaException as err:
                cause = err.args[0].str()
            else:
                return
        raise ClusterError(f"the broker at {self._access.bootstrap} does not answer: {cause}")

    def _topics(self) -> set[str]:
        return _topics_of(self._client(), self._access)

    def _create_topics(self, names: Sequence[str], partitions: int) -> None:
        client = self._client()
        wanted = [admin.NewTopic(name, num_partitions=partitions) for name in names]
        _all_done(client.create_topics(wanted, operation_timeout=CALL_WITHIN_S), "create the topic")
        _until(lambda: set(names) <= _topics_of(client, self._access), f"the topics {', '.join(names)}")

    def _delete_topics(self, names: Sequence[str]) -> None:
        if not names:
            return
        client = self._client()
        _all_done(client.delete_topics(list(names), operation_timeout=CALL_WITHIN_S), "delete the topic")
        _until(
            lambda: not set(names) & _topics_of(client, self._access), f"the end of topics {', '.join(names)}"
        )

    def _put_user(self, name: str, password: str) -> None:
        client = self._client()
        for mechanism in (admin.ScramMechanism.SCRAM_SHA_256, admin.ScramMechanism.SCRAM_SHA_512):
            proof = admin.ScramCredentialInfo(mechanism, 4096)
            change = admin.UserScramCredentialUpsertion(name, proof, password.encode())
            _all_done(client.alter_user_scram_credentials([change]), "make the user")

    def _grant(self, user: str, topic_prefix: str, group_prefix: str) -> None:
        rights = [
            admin.AclBinding(
                kind, prefix, admin.ResourcePatternType.PREFIXED, f"User:{user}", "*",
                operation, admin.AclPermissionType.ALLOW,
            )
            for kind, prefix, operation in (
                (admin.ResourceType.TOPIC, topic_prefix, admin.AclOperation.DESCRIBE),
                (admin.ResourceType.TOPIC, topic_prefix, admin.AclOperation.READ),
                (admin.ResourceType.TOPIC, topic_prefix, admin.AclOperation.WRITE),
                (admin.ResourceType.GROUP, group_prefix, admin.AclOperation.DESCRIBE),
                (admin.ResourceType.GROUP, group_prefix, admin.AclOperation.READ),
            )
        ]  # fmt: skip
        client = self._client()
        _all_done(client.create_acls(rights), "grant the right")

    def _members(self, groups: Sequence[str]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        client = self._client()
        futures = client.describe_consumer_groups(list(groups), request_timeout=CALL_WITHIN_S)
        for group, future in futures.items():
            try:
                described = future.result(CALL_WITHIN_S)
            except (kafka.KafkaException, TimeoutError):
                continue
            if described.state is kafka.ConsumerGroupState.STABLE:
                found[group] = {
                    member.client_id: len(member.assignment.topic_partitions)
                    for member in described.members
                    if member.assignment is not None
                }
        return found

    def _records(self, topics: Sequence[str]) -> Iterator[KafkaRecord]:
        if not topics:
            return
        client = self._client()
        known = client.list_topics(timeout=CALL_WITHIN_S).topics
        partitions = [
            kafka.TopicPartition(topic, number) for topic in topics for number in known[topic].partitions
        ]
        ends = _ends(client, partitions)
        wanted = {place for place, end in ends.items() if end > 0}
        consumer = kafka.Consumer(
            {**self._access.configured(), "group.id": "seatrial-observer", "enable.auto.commit": False}
        )
        try:
            consumer.assign(
                [kafka.TopicPartition(topic, number, kafka.OFFSET_BEGINNING) for topic, number in wanted]
            )
            deadline = Deadline(CALL_WITHIN_S)
            while wanted:
                if deadline.is_over:
                    raise ClusterError(f"the records of {len(wanted)} partitions cannot be read to their end")
                for message in consumer.consume(1000, timeout=0.2):
                    record = read(message)
                    yield record
                    if record.offset + 1 >= ends[record.topic, record.partition]:
                        wanted.discard((record.topic, record.partition))
        finally:
            consumer.close()


def _ends(
    client: admin.AdminClient, partitions: Sequence[kafka.TopicPartition]
) -> dict[tuple[str, int], int]:
    """The end offset of each partition; a new one may need a moment to get its leader."""
    latest: Any = admin.OffsetSpec.latest()  # type: ignore[no-untyped-call]
    cause = ""
    for _ in Deadline(CALL_WITHIN_S).attempts(_LOOK_INTERVAL_S):
        futures = client.list_offsets(dict.fromkeys(partitions, latest), request_timeout=CALL_WITHIN_S)
        try:
            return {(each.topic, each.partition): future.result().offset for each, future in futures.items()}
        except kafka.KafkaException as err:
            cause = err.args[0].str()
    raise ClusterError(f"the broker does not say where topics end: {cause}")


def _topics_of(client: admin.AdminClient, access: KafkaAccess) -> set[str]:
    try:
        found = client.list_topics(timeout=CALL_WITHIN_S).topics
    except kafka.KafkaException as err:
        raise ClusterError(f"the broker at {access.bootstrap} does not answer: {err.args[0].str()}") from err
    return {name for name in found if not name.startswith("__")}


def _all_done(futures: Mapping[Any, Future[Any]], what: str) -> None:
    for thing, future in futures.items():
        try:
            future.result(CALL_WITHIN_S)
        except (kafka.KafkaException, TimeoutError) as err:
            cause = err.args[0].str() if isinstance(err, kafka.KafkaException) else "no answer"
            raise ClusterError(f"the broker does not {what} {thing}: {cause}") from err


def _until(is_so: Callable[[], bool], what: str) -> None:
    until_blocking(
        is_so,
        within_s=CALL_WITHIN_S,
        every_s=_LOOK_INTERVAL_S,
        otherwise=lambda: ClusterError(f"not within {CALL_WITHIN_S:g} s: {what}"),
    )

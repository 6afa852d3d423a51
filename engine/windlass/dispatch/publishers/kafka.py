"""Apache Kafka by way of librdkafka: the only module that imports its client, and only mode kafka_outbox imports it.

The client retries, reconnects and verifies certificates by itself, in threads of its own. Causes of a failed connection
reach only its error callback, so every wait here also serves that. Topics are asked for by the administrative call that
never creates one, and nothing is produced to a topic that was not found so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from windlass.config import KafkaSettings
from windlass.dispatch.publisher import PartitionEnds, Record, Refusal, Scope
from windlass.errors import BootRefused, Unavailable

HANDSHAKE_WITHIN_S = 8.0
ADMIN_WITHIN_S = 5.0
DELIVERY_WITHIN_S = 4.0
RECORD_BYTES_MAX = 1024 * 1024
SERVE_INTERVAL_S = 0.05
CLOSE_WITHIN_S = 2.0

#: Said by the broker of a record, not of its topic.
_RECORD_ERRORS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_ARG,
    }
)
_TOPIC_ERRORS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
#: What no patience mends at boot.
_DECISIVE = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})


T = TypeVar("T")


class KafkaPublisher:
    """Implements `publisher.Publisher`. `errors` gets the name of each error that the client reports."""

    def __init__(self, settings: KafkaSettings, errors: Callable[[str], None]) -> None:
        self._settings = settings
        self._count_error = errors
        self._admin: AdminClient | None = None
        self._producer: Producer | None = None
        self._producer_is_spoilt = False
        self._usable: set[str] = set()
        self._seen: dict[int, KafkaError] = {}
        """Errors of the administrative client since its last success, by code."""
        # One thread: batches go out in the order in which they come in.
        self._publishing = ThreadPoolExecutor(1, "kafka-publish")
        # A slow answer about one thing keeps nobody from asking about another.
        self._asking = ThreadPoolExecutor(4, "kafka-admin")
        self._is_closing = False

    # -- meeting the broker

    async def handshake(self) -> None:
        await self._in_thread(self._asking, self._handshake)

    def _handshake(self) -> None:
        until_s = time.monotonic() + HANDSHAKE_WITHIN_S
        self._seen.clear()
        try:
            admin = self._administrator()
        except KafkaException as err:
            raise BootRefused(f"the Kafka client refuses these settings: {_text(err)}") from err
        future = admin.describe_cluster(request_timeout=HANDSHAKE_WITHIN_S)
        while not (
            future.done() or self._is_closing or time.monotonic() > until_s or _DECISIVE & self._seen.keys()
        ):
            admin.poll(SERVE_INTERVAL_S)
        if future.done() and future.exception() is None:
            self._seen.clear()
            return
        raise BootRefused(self._cause(future))

    def _cause(self, future: Future[Any]) -> str:
        """The likeliest cause of a failed handshake, and what to do about it."""
        brokers, seen = ",".join(self._settings.seed_brokers), self._seen
        if KafkaError._AUTHENTICATION in seen:
            return (
                f"SASL authentication of user {self._settings.sasl_username} by {self._settings.sasl_mechanism} failed "
                f"at {brokers} ({seen[KafkaError._AUTHENTICATION].str()}); check WE_KAFKA_SASL_USERNAME, "
                "WE_KAFKA_SASL_PASSWORD and WE_KAFKA_SASL_MECHANISM"
            )
        # A listener that does not speak TLS hangs up, which the client counts as a lost connection.
        tls = seen.get(KafkaError._SSL) or next((e for e in seen.values() if "SSL" in e.str()), None)
        if tls is not None:
            return (
                f"the TLS handshake with {brokers} failed ({tls.str()}); check WE_KAFKA_TLS_CA_PATH, "
                "that the brokers' certificates name the hosts dialled, and that this listener speaks TLS"
            )
        for code in (KafkaError._RESOLVE, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            if code in seen:
                why = seen[code].str()
                break
        else:
            failure = future.exception() if future.done() else None
            why = _text(failure) if failure is not None else f"no answer within {HANDSHAKE_WITHIN_S:g} s"
        return (
            f"no Kafka broker of {brokers} can be reached ({why}); check WE_KAFKA_SEED_BROKERS and "
            "WE_KAFKA_TRANSPORT, and that a broker listens there"
        )

    # -- topics

    async def unusable(self, topics: Collection[str]) -> Mapping[str, str]:
        if not topics:
            return {}
        return await self._in_thread(self._asking, self._unusable, list(topics))

    def _unusable(self, topics: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        futures = self._administrator().describe_topics(
            TopicCollection(topics), include_authorized_operations=True, request_timeout=ADMIN_WITHIN_S
        )
        for topic, future in futures.items():
            try:
                described = self._result(future)
            except KafkaException as err:
                if err.args[0].code() not in _TOPIC_ERRORS:
                    raise Unavailable(
                        f"Kafka does not say whether topic {topic} exists: {_text(err)}"
                    ) from err
                found[topic] = f"{err.args[0].name()}: {err.args[0].str()}"
            else:
                allowed = described.authorized_operations
                if allowed is not None and AclOperation.WRITE not in allowed:
                    found[topic] = "TOPIC_AUTHORIZATION_FAILED: this principal may not write to it"
        self._usable.update(topic for topic in topics if topic not in found)
        self._usable.difference_update(found)
        return found

    async def create(
        self, topics: Collection[str], partitions: int, replication_factor: int
    ) -> Mapping[str, str]:
        """Creates those that do not exist; what went wrong by topic. For the command line only."""
        return await self._in_thread(self._asking, self._create, list(topics), partitions, replication_factor)

    def _create(self, topics: list[str], partitions: int, replication_factor: int) -> dict[str, str]:
        wanted = [NewTopic(topic, partitions, replication_factor) for topic in topics]
        refused = {}
        for topic, future in self._administrator().create_topics(wanted).items():
            try:
                self._result(future)
            except KafkaException as err:
                if err.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    refused[topic] = f"{err.args[0].name()}: {err.args[0].str()}"
        return refused

    async def partitions(self, topics: Collection[str]) -> Mapping[str, int]:
        """How many each existing topic has; the others are left out."""
        return await self._in_thread(self._asking, self._partitions, list(topics))

    def _partitions(self, topics: list[str]) -> dict[str, int]:
        found = {}
        futures = self._administrator().describe_topics(
            TopicCollection(topics), request_timeout=ADMIN_WITHIN_S
        )
        for topic, future in futures.items():
            try:
                found[topic] = len(self._result(future).partitions)
            except KafkaException as err:
                if err.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise Unavailable(f"Kafka does not describe topic {topic}: {_text(err)}") from err
        return found

    # -- publishing

    async def publish(self, records: Sequence[Record]) -> Sequence[Refusal | None]:
        unknown = {record.topic for record in records} - self._usable
        missing: Mapping[str, str] = {}
        if unknown:
            try:
                missing = await self.unusable(unknown)
            except Unavailable as err:
                return [Refusal(Scope.BROKER, "_TRANSPORT", err.reason)] * len(records)
        going = [record for record in records if record.topic not in missing]
        sent = iter(await self._in_thread(self._publishing, self._publish, going) if going else ())
        return [
            Refusal(Scope.TOPIC, missing[record.topic].partition(":")[0], missing[record.topic])
            if record.topic in missing
            else next(sent)
            for record in records
        ]

    def _publish(self, records: Sequence[Record]) -> list[Refusal | None]:
        producer = self._producing()
        outcomes: list[Refusal | None] = [None] * len(records)
        open_count = 0

        def settle(number: int, error: KafkaError | None, _: Message | None = None) -> None:
            nonlocal open_count
            open_count -= 1
            if error is not None:
                outcomes[number] = self._refusal(records[number].topic, error)

        for number, record in enumerate(records):
            open_count += 1
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=list(record.headers),
                    on_delivery=partial(settle, number),
                )
            except KafkaException as err:
                settle(number, err.args[0])
            except BufferError as err:
                settle(number, KafkaError(KafkaError._QUEUE_FULL, str(err)))
        while open_count:
            producer.poll(SERVE_INTERVAL_S)
        return outcomes

    def _refusal(self, topic: str, error: KafkaError) -> Refusal:
        self._count_error(error.name())
        if error.fatal():
            self._producer_is_spoilt = True
        if error.code() in _RECORD_ERRORS:
            scope = Scope.RECORD
        elif error.code() in _TOPIC_ERRORS:
            scope = Scope.TOPIC
            self._usable.discard(topic)
        else:
            scope = Scope.BROKER
        return Refusal(scope, error.name(), f"{error.name()}: {error.str()}")

    def recall(self) -> None:
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=False, blocking=False)

    # -- lag

    async def ends(self, topic: str, group: str) -> Mapping[int, PartitionEnds]:
        return await self._in_thread(self._asking, self._ends, topic, group)

    def _ends(self, topic: str, group: str) -> dict[int, PartitionEnds]:
        admin = self._administrator()
        try:
            futures = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_WITHIN_S)
            described = self._result(futures[topic])
            partitions = [TopicPartition(topic, each.id) for each in described.partitions]
            committed = self._committed(group, partitions)
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            ends = admin.list_offsets(dict.fromkeys(partitions, latest), request_timeout=ADMIN_WITHIN_S)
            return {
                partition.partition: PartitionEnds(
                    self._result(future).offset, max(-1, committed.get(partition.partition, -1))
                )
                for partition, future in ends.items()
            }
        except KafkaException as err:
            raise Unavailable(f"Kafka does not tell the lag of group {group}: {_text(err)}") from err

    def _committed(self, group: str, partitions: list[TopicPartition]) -> dict[int, int]:
        """By a consumer that never joins its group: the administrative call for it ends the process when the group's
        coordinator goes away meanwhile (librdkafka 2.16, an assertion on its event's reference count).
        """
        consumer = Consumer(
            self._connection() | {"group.id": group, "enable.auto.commit": False, "error_cb": _unheard}
        )
        try:
            found = consumer.committed(partitions, timeout=ADMIN_WITHIN_S)
        finally:
            consumer.close()
        return {each.partition: each.offset for each in found}

    # -- clients

    async def close(self) -> None:
        """The clients' own threads call back until they are gone, so they have to go before Python does."""
        self._is_closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for executor in (self._publishing, self._asking):
            executor.shutdown(cancel_futures=True)
        if self._producer is not None:
            self._producer.flush(CLOSE_WITHIN_S)
        self._producer = self._admin = None

    def _administrator(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._connection() | {"error_cb": self._admin_error})
        return self._admin

    def _producing(self) -> Producer:
        if self._producer_is_spoilt and self._producer is not None:
            # An idempotent producer that lost its place says so once and is of no use after it.
            self._producer.purge()
            self._producer, self._producer_is_spoilt = None, False
        if self._producer is None:
            self._producer = Producer(self._connection() | _PRODUCING | {"error_cb": self._producer_error})
        return self._producer

    def _connection(self) -> dict[str, Any]:
        settings = self._settings
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.seed_brokers),
            "client.id": "windlass",
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "socket.connection.setup.timeout.ms": 5000,
            "logger": _SILENT,
        }
        if settings.transport == "sasl_scram_tls":
            found |= {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": settings.sasl_mechanism,
                "sasl.username": settings.sasl_username,
                "sasl.password": settings.sasl_password,
                "ssl.endpoint.identification.algorithm": "https",
            }
            if settings.tls_ca_path:
                found["ssl.ca.location"] = settings.tls_ca_path
        else:
            found["security.protocol"] = "PLAINTEXT"
        return found

    def _admin_error(self, error: KafkaError) -> None:
        self._seen.setdefault(error.code(), error)

    def _producer_error(self, error: KafkaError) -> None:
        self._count_error(error.name())
        if error.fatal():
            self._producer_is_spoilt = True

    def _result(self, future: Future[Any]) -> Any:
        """Its outcome; the client's callbacks are served meanwhile. Raises KafkaException."""
        until_s = time.monotonic() + ADMIN_WITHIN_S + 1.0
        admin = self._administrator()
        while not (future.done() or self._is_closing or time.monotonic() > until_s):
            admin.poll(SERVE_INTERVAL_S)
        if not future.done():
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer within {ADMIN_WITHIN_S:g} s"))
        return future.result()

    @staticmethod
    async def _in_thread(executor: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)


#: The client writes to standard error unless given a logger; what it has to say arrives by its callbacks.
_SILENT = logging.getLogger("windlass.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_PRODUCING = {
    "acks": "all",
    "enable.idempotence": True,
    # As the Java client places keys (contract 6.2).
    "partitioner": "murmur2",
    "linger.ms": 1,
    "batch.size": RECORD_BYTES_MAX,
    "message.max.bytes": RECORD_BYTES_MAX,
    "message.timeout.ms": int(DELIVERY_WITHIN_S * 1000),
    "request.timeout.ms": int(DELIVERY_WITHIN_S * 1000),
    "topic.metadata.propagation.max.ms": 500,
    "retry.backoff.ms": 50,
    "retry.backoff.max.ms": 500,
}


def _text(err: BaseException) -> str:
    error = err.args[0] if err.args else err
    return f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else str(err)


def _unheard(_: KafkaError) -> None:
    """Whoever waits learns of it by the call's own failure."""

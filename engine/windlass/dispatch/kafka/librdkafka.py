"""Apache Kafka through librdkafka, the default client: the only module that imports it.

The client retries, reconnects and verifies certificates by itself, in threads of its own. It reports why a connection
failed only to its error callback, so every wait here also polls for callbacks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

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

from windlass.dispatch.broker import Refusal, Scope
from windlass.dispatch.kafka import publisher as kafka
from windlass.dispatch.kafka.publisher import (
    ADMIN_WITHIN_S,
    HANDSHAKE_WITHIN_S,
    Code,
    KafkaPublisher,
    PartitionEnds,
    Record,
)
from windlass.errors import BootRefused, Unavailable
from windlass.kafka_settings import KafkaSettings

SERVE_INTERVAL_S = 0.05

#: The client's own errors that are of a record or a topic; Kafka's are in `publisher.py`.
_RECORD_ERRORS = frozenset({KafkaError._INVALID_ARG})
_TOPIC_ERRORS = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


class LibrdkafkaPublisher(KafkaPublisher):
    def __init__(self, settings: KafkaSettings, errors: Callable[[str], None]) -> None:
        super().__init__(settings, errors)
        self._admin: AdminClient | None = None
        self._producer: Producer | None = None
        self._producer_is_spoilt = False

    # -- meeting the broker

    def _handshake(self) -> None:
        until_s = time.monotonic() + HANDSHAKE_WITHIN_S
        self._causes.clear()
        try:
            admin = self._administrator()
        except KafkaException as err:
            raise BootRefused(f"the Kafka client refuses these settings: {_text(err)}") from err
        future = admin.describe_cluster(request_timeout=HANDSHAKE_WITHIN_S)
        while not (
            future.done()
            or self._is_closing
            or time.monotonic() > until_s
            or kafka.DECISIVE & self._causes.keys()
        ):
            admin.poll(SERVE_INTERVAL_S)
        failure = future.exception() if future.done() else None
        if future.done() and failure is None:
            self._causes.clear()
            return
        raise BootRefused(
            self._cause(_text(failure) if failure else f"no answer within {HANDSHAKE_WITHIN_S:g} s")
        )

    # -- topics

    def _unusable(self, topics: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        futures = self._administrator().describe_topics(
            TopicCollection(topics), include_authorized_operations=True, request_timeout=ADMIN_WITHIN_S
        )
        for topic, future in futures.items():
            try:
                described = self._result(future)
            except KafkaException as err:
                if _scope_of(err.args[0]) is not Scope.DESTINATION:
                    raise Unavailable(
                        f"Kafka does not say whether topic {topic} exists: {_text(err)}"
                    ) from err
                found[topic] = _text(err)
            else:
                allowed = described.authorized_operations
                if allowed is not None and AclOperation.WRITE not in allowed:
                    found[topic] = kafka.MAY_NOT_WRITE
        return found

    def _create(self, topics: list[str], partitions: int, replication_factor: int) -> dict[str, str]:
        wanted = [NewTopic(topic, partitions, replication_factor) for topic in topics]
        refused = {}
        for topic, future in self._administrator().create_topics(wanted).items():
            try:
                self._result(future)
            except KafkaException as err:
                if err.args[0].code() != Code.TOPIC_ALREADY_EXISTS:
                    refused[topic] = _text(err)
        return refused

    def _partitions(self, topics: list[str]) -> dict[str, int]:
        found = {}
        futures = self._administrator().describe_topics(
            TopicCollection(topics), request_timeout=ADMIN_WITHIN_S
        )
        for topic, future in futures.items():
            try:
                found[topic] = len(self._result(future).partitions)
            except KafkaException as err:
                if err.args[0].code() != Code.UNKNOWN_TOPIC_OR_PART:
                    raise Unavailable(f"Kafka does not describe topic {topic}: {_text(err)}") from err
        return found

    # -- publishing

    def _publish(self, records: Sequence[Record]) -> list[Refusal | None]:
        recalls, until_s = self._recalls, time.monotonic() + kafka.DELIVERY_WITHIN_S
        outcomes = self._send(records)
        # Records of one request are refused together, for one bad record or their total size; singly they show which.
        refused = [n for n, outcome in enumerate(outcomes) if outcome and outcome.scope is Scope.MESSAGE]
        for number in refused if len(refused) > 1 else ():
            if recalls != self._recalls or time.monotonic() > until_s:
                break
            outcomes[number] = self._send([records[number]])[0]
        return outcomes

    def _send(self, records: Sequence[Record]) -> list[Refusal | None]:
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
        if error.fatal():
            self._producer_is_spoilt = True
        return self._refused(topic, _scope_of(error), error.name(), error.str())

    def recall(self) -> None:
        super().recall()
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=False, blocking=False)

    # -- lag

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

    def _close(self) -> None:
        self._end_threads()
        if self._producer is not None:
            self._producer.flush(kafka.CLOSE_WITHIN_S)
        self._producer = self._admin = None

    def _administrator(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._connection() | {"error_cb": self._admin_error})
        return self._admin

    def _producing(self) -> Producer:
        if self._producer_is_spoilt and self._producer is not None:
            # An idempotent producer that lost its sequence number reports it once and is unusable after that.
            self._producer.purge()
            self._producer, self._producer_is_spoilt = None, False
        if self._producer is None:
            self._producer = Producer(self._connection() | _PRODUCING | {"error_cb": self._producer_error})
        return self._producer

    def _connection(self) -> dict[str, Any]:
        settings = self._settings
        least_s, most_s = kafka.RECONNECT_BACKOFF_S
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.seed_brokers),
            "client.id": kafka.CLIENT_ID,
            "reconnect.backoff.ms": int(least_s * 1000),
            "reconnect.backoff.max.ms": int(most_s * 1000),
            "socket.connection.setup.timeout.ms": int(kafka.CONNECT_WITHIN_S * 1000),
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
        self._causes.setdefault(error.name(), error.str())

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
    "batch.size": kafka.RECORD_BYTES_MAX,
    "message.max.bytes": kafka.RECORD_BYTES_MAX,
    "message.timeout.ms": int(kafka.DELIVERY_WITHIN_S * 1000),
    "request.timeout.ms": int(kafka.DELIVERY_WITHIN_S * 1000),
    "topic.metadata.propagation.max.ms": 500,
    "retry.backoff.ms": 50,
    "retry.backoff.max.ms": 500,
}


def _scope_of(error: KafkaError) -> Scope:
    if error.code() in _RECORD_ERRORS:
        return Scope.MESSAGE
    return Scope.DESTINATION if error.code() in _TOPIC_ERRORS else kafka.scope_of(error.code())


def _text(err: BaseException) -> str:
    error = err.args[0] if err.args else err
    return f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else str(err)


def _unheard(_: KafkaError) -> None:
    """The call that waits fails with the error itself, so it need not be raised here."""

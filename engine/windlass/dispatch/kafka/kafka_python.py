"""Apache Kafka through kafka-python, for brokers whose certificates have a name other than the host's.

librdkafka can verify only the name of the host it connects to. This client uses Python's TLS, so `one_name.py` can
verify every connection, to seed brokers and advertised ones, against WE_KAFKA_TLS_SERVER_NAME alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka import errors as client
from kafka.admin import OffsetSpec

from windlass.dispatch.broker import Refusal, Scope
from windlass.dispatch.kafka import publisher as kafka
from windlass.dispatch.kafka.kafka_python_network import Network, loss_of, text_of
from windlass.dispatch.kafka.one_name import OneNameContext, one_name_context
from windlass.dispatch.kafka.publisher import (
    ADMIN_WITHIN_S,
    CLOSE_WITHIN_S,
    DELIVERY_WITHIN_S,
    HANDSHAKE_WITHIN_S,
    Code,
    KafkaPublisher,
    PartitionEnds,
    Record,
)
from windlass.errors import BootRefused, Unavailable
from windlass.kafka_settings import KafkaSettings

METADATA_WITHIN_S = 1.0
"""Of a topic that was found usable a moment ago."""
LATE_S = 0.5
"""How much later than its timeout the client may report an outcome."""

# Its debug lines hold its whole configuration, password included, and every record; what matters comes as exceptions.
logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)


T = TypeVar("T")


class KafkaPythonPublisher(KafkaPublisher):
    def __init__(self, settings: KafkaSettings, errors: Callable[[str], None]) -> None:
        super().__init__(settings, errors)
        self._context: OneNameContext | None = None
        self._admin: KafkaAdminClient | None = None
        self._admin_making = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._meeting: set[Network] = set()
        """Of the clients that have not met a broker yet."""

    # -- meeting the broker

    def _handshake(self) -> None:
        self._causes.clear()
        try:
            self._connection()
        except (ValueError, OSError) as err:
            raise BootRefused(
                f"the Kafka client refuses these settings: {err}; check WE_KAFKA_TLS_SERVER_NAME and "
                "WE_KAFKA_TLS_CA_PATH"
            ) from err
        try:
            # Name lookup has no timeout, so it runs in another thread.
            self._asking.submit(self._meet).result(HANDSHAKE_WITHIN_S)
        except TimeoutError as err:
            raise BootRefused(self._cause(f"no answer within {HANDSHAKE_WITHIN_S:g} s")) from err
        except Unavailable as err:
            raise BootRefused(self._cause(err.reason)) from err
        self._causes.clear()

    def _meet(self) -> None:
        # Its client has met a seed broker then; this goes to one at the address that it advertises.
        self._asked(
            "it does not answer", lambda admin: admin.describe_topics([]), HANDSHAKE_WITHIN_S - LATE_S
        )

    # -- topics

    def _unusable(self, topics: list[str]) -> dict[str, str]:
        found = {}
        for topic, described in self._described(topics).items():
            code, allowed = described["error_code"], described["authorized_operations"]
            if code == 0:
                if allowed is not None and "WRITE" not in allowed:
                    found[topic] = kafka.MAY_NOT_WRITE
            elif kafka.scope_of(code) is Scope.DESTINATION:
                found[topic] = _code_text(code)
            else:
                raise Unavailable(f"Kafka does not say whether topic {topic} exists: {_code_text(code)}")
        return found

    def _create(self, topics: list[str], partitions: int, replication_factor: int) -> dict[str, str]:
        wanted = {"num_partitions": partitions, "replication_factor": replication_factor}
        created = self._asked(
            "Kafka creates no topics",
            lambda admin: admin.create_topics(dict.fromkeys(topics, wanted), raise_errors=False),
        )
        return {
            each["name"]: _code_text(each["error_code"], each["error_message"])
            for each in created["topics"]
            if each["error_code"] not in {0, Code.TOPIC_ALREADY_EXISTS}
        }

    def _partitions(self, topics: list[str]) -> dict[str, int]:
        found = {}
        for topic, described in self._described(topics).items():
            code = described["error_code"]
            if code == 0:
                found[topic] = len(described["partitions"])
            elif code != Code.UNKNOWN_TOPIC_OR_PART:
                raise Unavailable(f"Kafka does not describe topic {topic}: {_code_text(code)}")
        return found

    def _described(self, topics: list[str]) -> dict[str, dict[str, Any]]:
        described = self._asked("Kafka does not describe topics", lambda admin: admin.describe_topics(topics))
        return {each["name"]: each for each in described}

    # -- publishing

    def _publish(self, records: Sequence[Record]) -> list[Refusal | None]:
        recalls, until_s = self._recalls, time.monotonic() + DELIVERY_WITHIN_S + LATE_S
        failures = self._send(records, range(len(records)), recalls, until_s)
        # A fatal error fails all records that the client holds; sent singly they show whose it was.
        doubtful = [number for number, failure in failures.items() if failure.is_final]
        closed: dict[str, _Failure] = {}
        for number in doubtful if len(doubtful) > 1 else ():
            topic = records[number].topic
            if topic in closed:
                failures[number] = closed[topic]
                continue
            del failures[number]
            failures |= self._send(records, [number], recalls, until_s)
            if number in failures and _scope_of(failures[number].error) is Scope.DESTINATION:
                closed[topic] = failures[number]
        gone = self._gone({records[n].topic for n, (error, _) in failures.items() if _is_late(error)})
        outcomes: list[Refusal | None] = [None] * len(records)
        for number, (error, _) in failures.items():
            topic = records[number].topic
            scope, name, text = _scope_of(error), _name(error), text_of(error)
            if topic in gone:
                scope, (name, _, text) = Scope.DESTINATION, gone[topic].partition(": ")
            outcomes[number] = self._refused(topic, scope, name, text)
        return outcomes

    def _send(
        self, records: Sequence[Record], numbers: Iterable[int], recalls: int, until_s: float
    ) -> dict[int, _Failure]:
        """The outcomes of those of `numbers` that did not arrive."""
        try:
            producer = self._producing(until_s - LATE_S - time.monotonic())
        except client.KafkaError as err:
            return dict.fromkeys(numbers, _Failure(err))
        failures: dict[int, _Failure] = {}
        futures: dict[int, Any] = {}
        late: set[str] = set()
        for number in numbers:
            topic, key, value, headers = records[number]
            try:
                if recalls != self._recalls:
                    raise client.Cancelled("the lead was lost")
                if topic in late or time.monotonic() > until_s:
                    raise client.KafkaTimeoutError("there is no time left to send it")
                futures[number] = producer.send(topic, value, key, headers=list(headers))
            except client.KafkaError as err:
                failures[number] = _Failure(err)
                if _is_late(err):
                    late.add(topic)
        is_whole = not failures or all(_scope_of(error) is Scope.MESSAGE for error, _ in failures.values())
        for number, future in futures.items():
            try:
                future.get(max(0.0, until_s - time.monotonic()))
            except client.KafkaError as err:
                is_whole = False
                failures[number] = _Failure(err, is_final=not isinstance(err, client.RetriableError))
        if recalls != self._recalls:
            failures = dict.fromkeys(failures, _Failure(client.Cancelled("the lead was lost")))
        if not is_whole:
            # It holds what was given up, or has lost its place, or its brokers have gone elsewhere.
            self._retire()
        return failures

    def _gone(self, topics: set[str]) -> Mapping[str, str]:
        """Those that are not usable any more: the client waits for them as for a broker that is away."""
        try:
            return self._sift(list(topics)) if topics else {}
        except Unavailable:
            return {}

    def recall(self) -> None:
        """Records already sent may still arrive, and share their dedup id; their outcome is not waited for."""
        super().recall()
        for network in list(self._meeting):
            network.give_up()
        if self._producer is not None:
            self._producer._sender.force_close()

    # -- lag

    def _ends(self, topic: str, group: str) -> dict[int, PartitionEnds]:
        otherwise = f"Kafka does not tell the lag of group {group}"
        described = self._described([topic])[topic]
        if described["error_code"] != 0:
            raise Unavailable(f"{otherwise}: {_code_text(described['error_code'])}")
        partitions = [TopicPartition(topic, each["partition_index"]) for each in described["partitions"]]

        def look(admin: KafkaAdminClient) -> dict[int, PartitionEnds]:
            committed = admin.list_group_offsets({group: partitions})[group]
            latest = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
            return {
                each.partition: PartitionEnds(latest[each].offset, max(-1, committed[each].offset))
                for each in partitions
            }

        return self._asked(otherwise, look)

    # -- clients

    def _close(self) -> None:
        self.recall()
        self._dismiss(self._admin)
        self._end_threads()
        self._retire()

    def _asked(
        self, otherwise: str, ask: Callable[[KafkaAdminClient], T], within_s: float = ADMIN_WITHIN_S
    ) -> T:
        """What it answers. Raises Unavailable."""
        admin = None
        try:
            admin = self._administrator(within_s)
            return ask(admin)
        # Whoever asks one that another thread dismisses meanwhile gets a RuntimeError.
        except (client.KafkaError, RuntimeError) as err:
            self._dismiss(admin)
            raise Unavailable(f"{otherwise}: {text_of(err)}") from err

    def _administrator(self, within_s: float) -> KafkaAdminClient:
        """Raises KafkaError."""
        if not self._admin_making.acquire(timeout=within_s):
            raise client.KafkaTimeoutError("another call is already waiting for the broker")
        try:
            if self._admin is None:
                self._admin = self._met(KafkaAdminClient, self._admin_lost, within_s, _ASKING)
            return self._admin
        finally:
            self._admin_making.release()

    def _dismiss(self, admin: KafkaAdminClient | None) -> None:
        """It keeps to the brokers and coordinators that it knows; the next one asks the seed brokers anew."""
        with self._admin_making:
            if admin is not self._admin:
                return
            self._admin = None
        if admin is not None:
            admin.close()

    def _producing(self, within_s: float) -> KafkaProducer:
        """Raises KafkaError."""
        if self._producer is None:
            self._producer = self._met(KafkaProducer, self._producer_lost, within_s, _PRODUCING)
        return self._producer

    def _retire(self) -> None:
        """Closing waits for the records that the client holds, so it has to drop them first."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer._sender.force_close()
            producer._sender.join(CLOSE_WITHIN_S)
            with contextlib.suppress(client.KafkaError):
                producer.close(timeout=0)

    def _met(
        self,
        make: Callable[..., T],
        lost: Callable[[str, str], None],
        within_s: float,
        more: Mapping[str, Any],
    ) -> T:
        """A client that a seed broker has answered. Raises KafkaError."""
        network: Network

        def hear(error: Exception) -> None:
            name, text = loss_of(error)
            network.last_loss = text
            lost(name, text)
            if name in kafka.DECISIVE and network in self._meeting:
                network.give_up()

        network = Network(hear)
        self._meeting.add(network)
        try:
            return make(
                **self._connection(), **more, kafka_client=network, bootstrap_timeout_ms=int(within_s * 1000)
            )
        except client.KafkaError as err:
            network.close()
            raise client.KafkaConnectionError(network.last_loss or text_of(err)) from err
        finally:
            self._meeting.discard(network)

    def _connection(self) -> dict[str, Any]:
        """Raises ValueError and OSError when the TLS settings are of no use."""
        settings = self._settings
        if self._context is None:
            self._context = one_name_context(settings.tls_server_name or "", settings.tls_ca_path)
        least_s, most_s = kafka.RECONNECT_BACKOFF_S
        return {
            "bootstrap_servers": list(settings.seed_brokers),
            "client_id": kafka.CLIENT_ID,
            "reconnect_backoff_ms": int(least_s * 1000),
            "reconnect_backoff_max_ms": int(most_s * 1000),
            "security_protocol": "SASL_SSL",
            "ssl_context": self._context,
            "sasl_mechanism": settings.sasl_mechanism,
            # The client leaves to others what SCRAM demands of a name (RFC 5802, 5.1).
            "sasl_plain_username": (settings.sasl_username or "").replace("=", "=3D").replace(",", "=2C"),
            "sasl_plain_password": settings.sasl_password,
        }

    def _admin_lost(self, name: str, text: str) -> None:
        self._causes.setdefault(name, text)

    def _producer_lost(self, name: str, _: str) -> None:
        self._count_error(name)


class _Failure(NamedTuple):
    error: Exception
    is_final: bool = False
    """The client has stopped for it, with the same error for all that it held."""


_ASKING = {"request_timeout_ms": int(ADMIN_WITHIN_S * 1000)}

_PRODUCING = {
    "acks": "all",
    "enable_idempotence": True,
    # Its keys are placed as the Java client's are (contract 6.2), which is its default.
    "batch_size": kafka.RECORD_BYTES_MAX,
    "max_request_size": kafka.RECORD_BYTES_MAX,
    "linger_ms": 1,
    "delivery_timeout_ms": int(DELIVERY_WITHIN_S * 1000),
    "request_timeout_ms": int((DELIVERY_WITHIN_S - LATE_S) * 1000),
    "max_block_ms": int(METADATA_WITHIN_S * 1000),
    "retry_backoff_ms": 50,
    "metrics_enabled": False,
}


def _scope_of(error: Exception) -> Scope:
    return kafka.scope_of(error.errno) if isinstance(error, client.BrokerResponseError) else Scope.BROKER


def _is_late(error: Exception) -> bool:
    return isinstance(error, client.KafkaTimeoutError)


def _name(error: Exception) -> str:
    if isinstance(error, client.BrokerResponseError):
        return _code_name(error.errno)
    if isinstance(error, client.Cancelled):
        return "_PURGE_QUEUE"
    return "_MSG_TIMED_OUT" if _is_late(error) else kafka.TRANSPORT


def _code_name(code: int) -> str:
    return Code(code).name if code in _CODES else str(client.for_code(code).message)


def _code_text(code: int, text: str | None = None) -> str:
    return f"{_code_name(code)}: {text or client.for_code(code).description}"


_CODES = frozenset(Code)

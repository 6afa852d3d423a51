"""What publishers to Apache Kafka have in common, whichever client library they use.

A client blocks, so each call runs in a thread. Topics are looked up by a call that never creates one, and nothing is
produced to a topic that was not found usable. What operators see, such as the names of errors and the text of a
refused boot, is the same for both clients.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import NamedTuple, TypeVar

from windlass.dispatch.broker import Refusal, Scope
from windlass.errors import Unavailable
from windlass.kafka_settings import KafkaSettings

HANDSHAKE_WITHIN_S = 8.0
ADMIN_WITHIN_S = 5.0
CONNECT_WITHIN_S = 5.0
DELIVERY_WITHIN_S = 4.0
CLOSE_WITHIN_S = 2.0
RECONNECT_BACKOFF_S = (0.1, 1.0)
RECORD_BYTES_MAX = 1024 * 1024
CLIENT_ID = "windlass"


class Code(IntEnum):
    """Kafka's numbers of the errors that are judged here, by the names that operators know from metrics and logs."""

    INVALID_MSG = 2
    UNKNOWN_TOPIC_OR_PART = 3
    INVALID_MSG_SIZE = 4
    MSG_SIZE_TOO_LARGE = 10
    TOPIC_EXCEPTION = 17
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    TOPIC_AUTHORIZATION_FAILED = 29
    TOPIC_ALREADY_EXISTS = 36
    POLICY_VIOLATION = 44
    INVALID_RECORD = 87


#: Errors of a record, not of its topic.
RECORD_CODES = frozenset(
    {Code.MSG_SIZE_TOO_LARGE, Code.INVALID_MSG_SIZE, Code.INVALID_MSG, Code.INVALID_RECORD}
)
TOPIC_CODES = frozenset(
    {
        Code.UNKNOWN_TOPIC_OR_PART,
        Code.TOPIC_AUTHORIZATION_FAILED,
        Code.TOPIC_EXCEPTION,
        Code.POLICY_VIOLATION,
        Code.NOT_ENOUGH_REPLICAS,
        Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)

# Errors before any broker has answered have no number; these are librdkafka's names for them.
AUTHENTICATION = "_AUTHENTICATION"
TLS = "_SSL"
UNRESOLVED = "_RESOLVE"
TRANSPORT = "_TRANSPORT"
ALL_DOWN = "_ALL_BROKERS_DOWN"

DECISIVE = frozenset({AUTHENTICATION, TLS})
"""Errors that waiting does not cure at boot."""

MAY_NOT_WRITE = f"{Code.TOPIC_AUTHORIZATION_FAILED.name}: this principal may not write to it"

T = TypeVar("T")


class Record(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class PartitionEnds(NamedTuple):
    """Offsets of one partition: where its records end, and what a group has committed, -1 when nothing."""

    end: int
    committed: int


class KafkaPublisher(ABC):
    """What `broker.KafkaBroker` needs of a client. `errors` gets the name of each error that the client reports.

    The methods that a client's own publisher fills in block, and run in threads.
    """

    def __init__(self, settings: KafkaSettings, errors: Callable[[str], None]) -> None:
        self._settings = settings
        self._count_error = errors
        self._usable: set[str] = set()
        self._causes: dict[str, str] = {}
        """What the administrative client has met since its last success: the first text of each name."""
        # One thread: batches go out in the order in which they come in.
        self._publishing = ThreadPoolExecutor(1, "kafka-publish")
        # A slow answer to one question must not delay the others.
        self._asking = ThreadPoolExecutor(4, "kafka-admin")
        self._recalls = 0
        """Publishing takes several steps; a changed count tells it that the lead was lost meanwhile."""
        self._is_closing = False

    # -- meeting the broker

    async def handshake(self) -> None:
        """Meets the broker. Raises BootRefused that names the cause."""
        await self._in_thread(self._asking, self._handshake)

    @abstractmethod
    def _handshake(self) -> None: ...

    def _cause(self, otherwise: str) -> str:
        """The likeliest cause of a failed handshake, and what to do about it."""
        settings, causes = self._settings, self._causes
        brokers = ",".join(settings.seed_brokers)
        if AUTHENTICATION in causes:
            return (
                f"SASL authentication of user {settings.sasl_username} by {settings.sasl_mechanism} failed "
                f"at {brokers} ({causes[AUTHENTICATION]}); check WE_KAFKA_SASL_USERNAME, "
                "WE_KAFKA_SASL_PASSWORD and WE_KAFKA_SASL_MECHANISM"
            )
        # A listener without TLS closes the connection, which librdkafka reports as a lost connection.
        tls = causes.get(TLS) or next((text for text in causes.values() if "SSL" in text), None)
        if tls is not None:
            return (
                f"the TLS handshake with {brokers} failed ({tls}); check WE_KAFKA_TLS_CA_PATH, "
                f"that the brokers' certificates name {self._expected_name()}, and that this listener speaks TLS"
            )
        why = next((causes[name] for name in (UNRESOLVED, TRANSPORT, ALL_DOWN) if name in causes), otherwise)
        return (
            f"no Kafka broker of {brokers} can be reached ({why}); check WE_KAFKA_SEED_BROKERS and "
            "WE_KAFKA_TRANSPORT, and that a broker listens there"
        )

    def _expected_name(self) -> str:
        if self._settings.tls_server_name:
            return f"{self._settings.tls_server_name} as WE_KAFKA_TLS_SERVER_NAME requires"
        return "the hosts dialled or WE_KAFKA_TLS_SERVER_NAME the name that they contain"

    # -- topics

    async def unusable(self, topics: Collection[str]) -> Mapping[str, str]:
        """Those that cannot be published to, each with the reason. Never creates one. Raises Unavailable."""
        if not topics:
            return {}
        return await self._in_thread(self._asking, self._sift, list(topics))

    def _sift(self, topics: list[str]) -> dict[str, str]:
        found = self._unusable(topics)
        self._usable.update(topic for topic in topics if topic not in found)
        self._usable.difference_update(found)
        return found

    @abstractmethod
    def _unusable(self, topics: list[str]) -> dict[str, str]: ...

    async def create(
        self, topics: Collection[str], partitions: int, replication_factor: int
    ) -> Mapping[str, str]:
        """Creates those that do not exist; what went wrong by topic. For the command line only."""
        return await self._in_thread(self._asking, self._create, list(topics), partitions, replication_factor)

    @abstractmethod
    def _create(self, topics: list[str], partitions: int, replication_factor: int) -> dict[str, str]: ...

    async def partitions(self, topics: Collection[str]) -> Mapping[str, int]:
        """How many each existing topic has; the others are left out."""
        return await self._in_thread(self._asking, self._partitions, list(topics))

    @abstractmethod
    def _partitions(self, topics: list[str]) -> dict[str, int]: ...

    # -- publishing

    async def publish(self, records: Sequence[Record]) -> Sequence[Refusal | None]:
        """One outcome a record: None when all in-sync replicas have it."""
        unknown = {record.topic for record in records} - self._usable
        missing: Mapping[str, str] = {}
        if unknown:
            try:
                missing = await self.unusable(unknown)
            except Unavailable as err:
                return [Refusal(Scope.BROKER, TRANSPORT, err.reason)] * len(records)
        going = [record for record in records if record.topic not in missing]
        sent = iter(await self._in_thread(self._publishing, self._publish, going) if going else ())
        return [
            topic_refusal(missing[record.topic]) if record.topic in missing else next(sent)
            for record in records
        ]

    @abstractmethod
    def _publish(self, records: Sequence[Record]) -> list[Refusal | None]: ...

    def _refused(self, topic: str, scope: Scope, name: str, text: str) -> Refusal:
        self._count_error(name)
        if scope is Scope.DESTINATION:
            self._usable.discard(topic)
        return Refusal(scope, name, f"{name}: {text}")

    def recall(self) -> None:
        """Gives up what has not left this process yet."""
        self._recalls += 1

    # -- lag

    async def ends(self, topic: str, group: str) -> Mapping[int, PartitionEnds]:
        """By partition. Raises Unavailable."""
        return await self._in_thread(self._asking, self._ends, topic, group)

    @abstractmethod
    def _ends(self, topic: str, group: str) -> dict[int, PartitionEnds]: ...

    # -- life

    async def close(self) -> None:
        """The clients' own threads call back until they are gone, so they have to go before Python does."""
        self._is_closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await asyncio.to_thread(self._close)

    @abstractmethod
    def _close(self) -> None: ...

    def _end_threads(self) -> None:
        for executor in (self._publishing, self._asking):
            executor.shutdown(cancel_futures=True)

    @staticmethod
    async def _in_thread(executor: ThreadPoolExecutor, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)


def scope_of(code: int) -> Scope:
    """Of an error with which a broker answered."""
    if code in RECORD_CODES:
        return Scope.MESSAGE
    return Scope.DESTINATION if code in TOPIC_CODES else Scope.BROKER


def topic_refusal(reason: str) -> Refusal:
    """For `reason` as `unusable` gives it."""
    return Refusal(Scope.DESTINATION, reason.partition(":")[0], reason)

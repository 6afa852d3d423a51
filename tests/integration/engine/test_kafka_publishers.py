"""What both publishers to Kafka do, by librdkafka and by kafka-python, on a real broker over TLS (contract 6.2)."""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import confluent_kafka
import psutil
import pytest
import pytest_asyncio
from test_kafka_dispatch import java_partition

from kafka_broker import CLIENTS, KafkaBroker, variables
from patience import eventually
from seatrial.cluster.kafka.settings import ENGINE_USER
from windlass.config import kafka_settings_from_env
from windlass.dispatch.broker import Refusal, Scope
from windlass.dispatch.kafka.choice import kafka_publisher
from windlass.dispatch.kafka.publisher import CLOSE_WITHIN_S, HANDSHAKE_WITHIN_S, KafkaPublisher, Record
from windlass.errors import BootRefused, Unavailable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka-publishers"),
    pytest.mark.asyncio(loop_scope="session"),
]
NO_FILE = Path("/nonexistent/engine.yaml")
PUBLISH_WITHIN_S = 12.0
"""A batch that is in vain: the client's own wait, and a look whether its topics are still there."""
Make = Callable[..., KafkaPublisher]


@pytest.fixture(params=CLIENTS)
def values(request: pytest.FixtureRequest, broker: KafkaBroker) -> Mapping[str, Any]:
    """Of a secured engine, by each client."""
    more = broker.values_by(request.param) if request.param == "kafka-python" else {}
    return {**broker.kafka_values(secured=True), **more}


@pytest.fixture
def errors() -> Counter[str]:
    return Counter()


@pytest_asyncio.fixture(loop_scope="session")
async def make(values: Mapping[str, Any], errors: Counter[str]) -> AsyncIterator[Make]:
    """Publishers with these values over the usual ones; closed at the end."""
    made: list[KafkaPublisher] = []

    def one(**more: Any) -> KafkaPublisher:
        settings = kafka_settings_from_env(variables({**values, **more}), NO_FILE)
        made.append(kafka_publisher(settings, lambda name: errors.update([name])))
        return made[-1]

    yield one
    for each in made:
        await each.close()


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(make: Make) -> KafkaPublisher:
    found = make()
    await found.handshake()
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def no_socket_left(broker: KafkaBroker) -> AsyncIterator[None]:  # it is there before the first look
    """Without the garbage collector, which may not come by in an outage of hours."""
    gc.collect()
    gc.disable()
    try:
        before = await open_sockets()
        yield

        async def as_before() -> bool:
            return await open_sockets() <= before

        await eventually(as_before)
    finally:
        gc.enable()


async def open_sockets() -> int:
    return await asyncio.to_thread(lambda: len(psutil.Process().net_connections("inet")))


@pytest.fixture
def topic() -> str:
    return f"workflow.jobs.{secrets.token_hex(4)}"


def record(topic: str, number: int = 0, value: bytes = b"") -> Record:
    key = f"key-{number % 7}".encode()
    return Record(topic, key, value or str(number).encode(), [("dedup-id", str(number).encode())])


async def values_on(broker: KafkaBroker, topic: str) -> list[bytes]:
    return [found.value for found in await broker.records_of(topic)]


def scopes(outcomes: Sequence[Refusal | None]) -> list[Scope | None]:
    return [outcome and outcome.scope for outcome in outcomes]


# -- topics


async def test_topics_are_told_apart_and_none_is_made(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    closed = f"{topic}-closed"
    await broker.create(topic, closed)
    await broker.deny_writing(ENGINE_USER, closed)
    refused = f"{topic}-gone", "workflow.jobs.no topic at all", "elsewhere"

    async def denied() -> bool:
        return closed in await publisher.unusable([closed])

    await eventually(denied)
    found = await publisher.unusable([topic, closed, *refused])
    assert {name: reason.partition(":")[0] for name, reason in found.items()} == {
        closed: "TOPIC_AUTHORIZATION_FAILED",
        refused[0]: "UNKNOWN_TOPIC_OR_PART",
        refused[1]: found[refused[1]].partition(":")[0],
        refused[2]: "TOPIC_AUTHORIZATION_FAILED",
    }
    assert found[refused[1]].startswith(("TOPIC_EXCEPTION", "TOPIC_AUTHORIZATION_FAILED"))
    assert await publisher.unusable([]) == {}
    outcomes = await publisher.publish([record(name) for name in (topic, closed, *refused)])
    assert scopes(outcomes) == [None, *[Scope.DESTINATION] * 4]
    assert not set(refused) & set(await broker.topics())


async def test_topics_are_created_on_demand_alone(make: Make, broker: KafkaBroker, topic: str) -> None:
    client = make(saslUsername="windlass")
    await broker.create(topic, partitions=3)
    assert await client.partitions([topic, f"{topic}-new"]) == {topic: 3}
    refused = await client.create([topic, f"{topic}-new"], 5, 1)
    # The engine's own principal has no right to it.
    assert set(refused) == {topic, f"{topic}-new"}
    assert {reason.partition(":")[0] for reason in refused.values()} == {"TOPIC_AUTHORIZATION_FAILED"}


# -- publishing


async def test_records_arrive_in_order_where_java_would_put_them(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    await broker.create(topic, partitions=5)
    outcomes = await publisher.publish([record(topic, number) for number in range(500)])
    assert outcomes == [None] * 500
    outcomes = await publisher.publish([record(topic, number) for number in range(500, 600)])
    assert outcomes == [None] * 100
    found = await broker.records_of(topic)
    assert Counter(each.value for each in found) == Counter(str(number).encode() for number in range(600))
    assert {each.partition for each in found if each.key == b"key-3"} == {java_partition(b"key-3", 5)}
    assert all(each.partition == java_partition(each.key, 5) for each in found)
    assert all(each.headers == {"dedup-id": each.value} for each in found)
    for before, after in pairwise(found):
        if before.partition == after.partition:
            assert int(before.value) < int(after.value)


async def test_a_record_that_no_topic_takes_is_refused_alone(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str, errors: Counter[str]
) -> None:
    await broker.create(topic)
    batch = [record(topic, number) for number in range(10)]
    batch[3] = record(topic, 3, b"x" * 1_100_000)
    outcomes = await publisher.publish(batch)
    assert scopes(outcomes) == [Scope.MESSAGE if number == 3 else None for number in range(10)]
    assert outcomes[3] is not None
    assert outcomes[3].code == "MSG_SIZE_TOO_LARGE"
    assert errors == {"MSG_SIZE_TOO_LARGE": 1}
    assert len(await values_on(broker, topic)) == 9


async def test_a_record_past_its_topic_s_own_limit_is_refused_alone(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str, errors: Counter[str]
) -> None:
    """Although the broker refuses the whole request that it came in."""
    other = f"{topic}-other"
    await broker.create(topic, other)
    await broker.limit_records(topic, 20_000)
    batch = [record(topic, number) for number in range(10)]
    batch[3] = record(topic, 3, b"x" * 50_000)
    batch += [record(other, number) for number in range(10)]
    outcomes = await publisher.publish(batch)
    assert scopes(outcomes) == [Scope.MESSAGE if number == 3 else None for number in range(20)]
    assert outcomes[3] is not None
    assert outcomes[3].code == "MSG_SIZE_TOO_LARGE"
    assert errors["MSG_SIZE_TOO_LARGE"] >= 1
    assert len(set(await values_on(broker, topic))) == 9
    assert await publisher.publish([record(topic, 11)]) == [None]


async def test_records_that_are_too_large_together_go_one_by_one(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    await broker.create(topic)
    await broker.limit_records(topic, 20_000)
    batch = [record(topic, number, b"%d" % number * 3_000) for number in range(40)]
    assert await publisher.publish(batch) == [None] * 40
    assert len(set(await values_on(broker, topic))) == 40


async def test_a_topic_closed_meanwhile_refuses_its_own_records(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    other = f"{topic}-other"
    await broker.create(topic, other)
    assert await publisher.publish([record(topic), record(other)]) == [None, None]
    await broker.deny_writing(ENGINE_USER, topic)

    async def closed() -> bool:
        batch = [record(name, number) for number in range(20) for name in (topic, other)]
        found = scopes(await publisher.publish(batch))
        assert set(found[1::2]) == {None}
        assert set(found[::2]) in ({None}, {Scope.DESTINATION})
        return found[0] is Scope.DESTINATION

    await eventually(closed, within_s=30)


async def test_a_topic_deleted_meanwhile_is_missed_and_not_made_anew(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    other = f"{topic}-other"
    await broker.create(topic, other)
    assert await publisher.publish([record(topic), record(other)]) == [None, None]
    await broker.admin().delete_topics([topic])
    began_s = time.monotonic()
    gone, there = await publisher.publish([record(topic), record(other)])
    assert time.monotonic() - began_s < PUBLISH_WITHIN_S
    assert there is None
    assert gone is not None
    assert (gone.scope, topic in await broker.topics()) == (Scope.DESTINATION, False)
    (again,) = await publisher.publish([record(topic)])
    assert again is not None
    assert (again.scope, again.code) == (Scope.DESTINATION, "UNKNOWN_TOPIC_OR_PART")


async def test_a_broker_that_is_away_and_back(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str, errors: Counter[str]
) -> None:
    await broker.create(topic)
    assert await publisher.publish([record(topic)]) == [None]
    await broker.crash()
    try:
        began_s = time.monotonic()
        outcomes = await publisher.publish([record(topic, 1), record(topic, 2)])
        assert time.monotonic() - began_s < PUBLISH_WITHIN_S
        assert scopes(outcomes) == [Scope.BROKER] * 2
        assert errors.total() >= 2
        with pytest.raises(Unavailable):
            await publisher.unusable([topic])
        # What stands in between takes the connection and hangs up, as a listener without TLS does.
        with pytest.raises(BootRefused, match=r"check WE_KAFKA_"):
            await publisher.handshake()
    finally:
        await broker.start()

    async def back() -> bool:
        return await publisher.publish([record(topic, 3)]) == [None]

    await eventually(back, within_s=30)
    assert await publisher.unusable([topic]) == {}
    await publisher.handshake()
    assert {b"0", b"3"} <= set(await values_on(broker, topic))


async def test_what_is_recalled_does_not_leave(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    await broker.create(topic)
    assert await publisher.publish([record(topic)]) == [None]
    await broker.crash()
    try:
        batch = [record(topic, number) for number in range(1, 50)]
        task = asyncio.create_task(_outcomes(publisher.publish(batch)))
        await asyncio.sleep(0.5)
        publisher.recall()
        began_s = time.monotonic()
        assert scopes(await task) == [Scope.BROKER] * 49
        assert time.monotonic() - began_s < 1.5
    finally:
        await broker.start()

    async def back() -> bool:
        return await publisher.publish([record(topic, 99)]) == [None]

    await eventually(back, within_s=30)
    assert set(await values_on(broker, topic)) == {b"0", b"99"}


async def _outcomes(publishing: Awaitable[Sequence[Refusal | None]]) -> Sequence[Refusal | None]:
    return await publishing


# -- lag


async def test_ends_and_what_a_group_has_committed(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    group = topic.replace("jobs", "workers")
    await broker.create(topic, partitions=2)
    assert await publisher.ends(topic, group) == {0: (0, -1), 1: (0, -1)}
    await publisher.publish([record(topic, number) for number in range(50)])
    counts = Counter(each.partition for each in await broker.records_of(topic))
    consumer = confluent_kafka.Consumer({**broker.access().configured(), "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, 1, 3)], asynchronous=False)
    consumer.close()
    assert await publisher.ends(topic, group) == {0: (counts[0], -1), 1: (counts[1], 3)}
    with pytest.raises(Unavailable, match=group):
        await publisher.ends(f"{topic}-gone", group)


# -- meeting and leaving


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_both_mechanisms_are_spoken(make: Make, mechanism: str) -> None:
    await make(saslMechanism=mechanism).handshake()


@pytest.mark.usefixtures("no_socket_left")
async def test_a_wrong_password_is_told_at_once(make: Make) -> None:
    began_s = time.monotonic()
    with pytest.raises(BootRefused, match=r"SASL authentication of user windlass .*WE_KAFKA_SASL_PASSWORD"):
        await make(saslPassword="another").handshake()
    assert time.monotonic() - began_s < HANDSHAKE_WITHIN_S / 2


async def test_a_user_s_name_may_hold_what_scram_uses_itself(make: Make, broker: KafkaBroker) -> None:
    await broker.put_user("a=b,c", "a password")
    await make(saslUsername="a=b,c", saslPassword="a password").handshake()


@pytest.mark.usefixtures("no_socket_left")
async def test_an_authority_that_is_not_trusted_is_told_at_once(make: Make, broker: KafkaBroker) -> None:
    began_s = time.monotonic()
    with pytest.raises(BootRefused, match=r"the TLS handshake with .*WE_KAFKA_TLS_CA_PATH"):
        await make(tlsCaPath=str(broker.other_authority())).handshake()
    assert time.monotonic() - began_s < HANDSHAKE_WITHIN_S / 2


@pytest.mark.usefixtures("no_socket_left")
async def test_a_listener_without_tls_is_not_spoken_to(make: Make, broker: KafkaBroker) -> None:
    with pytest.raises(BootRefused, match=r"the TLS handshake with .*that this listener speaks TLS"):
        await make(seedBrokers=broker.address).handshake()


@pytest.mark.usefixtures("no_socket_left")
async def test_nobody_and_somebody_who_says_nothing(make: Make) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(BootRefused, match=r"no Kafka broker of .*WE_KAFKA_SEED_BROKERS"):
            await make(seedBrokers=address).handshake()
        mute.listen()
        began_s = time.monotonic()
        with pytest.raises(BootRefused, match=r"no Kafka broker of .*WE_KAFKA_SEED_BROKERS"):
            await make(seedBrokers=address).handshake()
        assert time.monotonic() - began_s < HANDSHAKE_WITHIN_S + 2


async def test_closing_does_not_wait_for_a_broker(
    publisher: KafkaPublisher, broker: KafkaBroker, topic: str
) -> None:
    await broker.create(topic)
    assert await publisher.publish([record(topic)]) == [None]
    await broker.cut("blackhole")
    try:
        task = asyncio.create_task(_outcomes(publisher.publish([record(topic, 1)])))
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        await publisher.close()
        assert time.monotonic() - began_s < CLOSE_WITHIN_S + 1
        await asyncio.gather(task, return_exceptions=True)
    finally:
        await broker.mend()

"""The outbox mode with another broker than Kafka behind its port: nothing but the broker's own folder names Kafka."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from kafka_case import logged, sample
from memory_broker import MemoryBroker
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.dispatch import brokers
from windlass.errors import BootRefused

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """The broker of every node that a test boots; job type do-a has a queue there."""
    made = MemoryBroker("do-a")
    monkeypatch.setattr(brokers, "_FACTORIES", {"kafka_outbox": lambda *_: made})
    return made


async def started(boot: Boot) -> Running:
    # The variables of the only broker mode that the configuration knows; no such broker is ever spoken to.
    return await boot(
        WE_DISPATCH_MODE="kafka_outbox",
        WE_KAFKA_SEED_BROKERS="nowhere.example:1",
        WE_KAFKA_TRANSPORT="plaintext",
    )


async def drained(node: Running) -> None:
    async def empty() -> bool:
        return await node.rows("SELECT 1 FROM dispatch_outbox") == []

    await eventually(empty)


async def test_a_job_goes_out_as_the_broker_encodes_it_and_in_order(boot: Boot, queues: MemoryBroker) -> None:
    node = await started(boot)
    await node.define(service("a", "b"), service("b", "end", jobType="do-a"), END)
    instances = [(await node.start()).id for _ in range(5)]
    await drained(node)
    for message in list(queues.messages):
        await node.complete(json.loads(message.body)["job"])
    await drained(node)
    assert Counter(message.ordering_key for message in queues.messages) == dict.fromkeys(instances, 2)
    assert {message.job_type for message in queues.messages} == {"do-a"}
    assert {message.epoch for message in queues.messages} == {1}
    assert len({message.dedup_id for message in queues.messages}) == 10
    for instance in instances:
        mine = [message.dedup_id for message in queues.messages if message.ordering_key == instance]
        assert mine == sorted(mine)


async def test_boot_and_stop_tell_the_broker_in_order(boot: Boot, queues: MemoryBroker) -> None:
    node = await started(boot)
    assert queues.said == ["checked", "destinations", "started"]
    await node.node._shut_down()
    assert queues.said[3:] == ["recalled", "closed"]


async def test_a_destination_that_is_missing_waits_alone_and_is_named_as_the_broker_names_it(
    boot: Boot, queues: MemoryBroker
) -> None:
    node = await started(boot)
    await node.define(service("a", "end"), END, id_="good")
    await node.define(service("lost", "end"), END, id_="bad")
    await node.start("bad")
    await node.start("good")

    async def told() -> bool:
        return len(queues.messages) == 1 and bool((await node.engine.readiness()).degraded)

    await eventually(told)
    assert (await node.engine.readiness()).degraded == (
        "topic queue/do-lost cannot be published to: no such queue; its events wait",
    )
    assert sample(node, 'windlass_dispatch_topic_unusable{topic="queue/do-lost"}') == 1.0
    with pytest.raises(BootRefused, match=r"queues are missing: do-lost; declare them"):
        await started(boot)
    queues.job_types.add("do-lost")
    await drained(node)
    assert [message.job_type for message in queues.messages] == ["do-a", "do-lost"]


async def test_a_message_that_is_refused_holds_up_its_own_line_alone(
    boot: Boot, queues: MemoryBroker
) -> None:
    node = await started(boot)
    await node.define(service("a", "end"), END)
    queues.refused_messages.add((await node.start()).id)
    other = await node.start()

    async def refused_and_other_gone() -> bool:
        return [message.ordering_key for message in queues.messages] == [other.id] and bool(
            logged(node, "dispatch: record refused by the broker")
        )

    await eventually(refused_and_other_gone)
    (line,) = logged(node, "dispatch: record refused by the broker")[:1]
    assert (line["topic"], line["err"]) == ("queue/do-a", "nobody wants this one")


async def test_while_the_broker_is_away_events_wait_and_no_probe_looks(
    boot: Boot, queues: MemoryBroker
) -> None:
    node = await started(boot)
    await node.define(service("a", "end"), END)
    await node.start()
    await drained(node)

    async def probed() -> bool:
        return queues.probed > 0

    await eventually(probed)
    queues.is_away = True
    await node.start()

    async def away() -> bool:
        relay: Any = node.engine.details()["relay"]
        return bool(relay["broker"] == "away")

    await eventually(away)
    assert "the queues are away" in (await node.engine.readiness()).degraded[0]
    looked = queues.probed
    queues.is_away = False
    await drained(node)
    assert len(queues.messages) == 2

    async def probed_again() -> bool:
        return queues.probed > looked

    await eventually(probed_again)

"""Exercises of the abilities that are about a broker."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from configuration_exercises import BOOT_BOUND_S
from exercise_looks import REPLICA, WITHIN_S, eventually, reaches_broker
from seatrial.client import RecordingClient
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import Boots, Logs
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess, Consumer, Record
from seatrial.cluster.brokers import new_consumer
from seatrial.cluster.wire import read_wire
from seatrial.deadline import Deadline
from seatrial.history import Recorder
from seatrial.workload.linear import linear

WORK = linear(1, name="exercise")
UNUSED = "exercise-unused"


async def broker(ability: Broker, cluster: Cluster, folder: Path) -> None:
    """One job goes through it. Its definition stays, so its destination must, too: engines look for it at boot."""
    (job_type,) = WORK.job_types()
    await ability.until_ready(WITHIN_S)
    assert ability.destination(job_type)
    await ability.create_destinations([job_type, UNUSED])
    await ability.create_destinations([job_type])
    assert set(ability.destinations()) == {job_type, UNUSED}
    await ability.delete_destinations([UNUSED])
    assert set(ability.destinations()) == {job_type}
    await _start_one(cluster, folder)
    consumer = new_consumer(ability.consumer_access(), job_type, name="exercise", session_timeout_s=10.0)
    try:
        record = await _first_record(consumer)
        await eventually(lambda: _consumes(ability, job_type), "the consumer is known")
        await consumer.acknowledge(record)
    finally:
        await consumer.close()
    assert record in await ability.records()
    assert ability.engine_values(secured=False)
    assert all(ability.secrets())
    log = cluster.ability(Logs).log_path(REPLICA).read_text()
    for line in (*ability.boot_lines(secured=False), *ability.destination_lines([])):
        assert line in log
    await ability.clear()
    assert (await ability.records(), ability.destinations()) == ([], {})
    await ability.create_destinations([job_type])


async def _start_one(cluster: Cluster, folder: Path) -> None:
    recorder = Recorder(folder)
    try:
        async with RecordingClient("client-0", cluster.replicas(), recorder, random.Random(1)) as client:
            assert (await client.upload(WORK.definitions[0])).ok
            assert (await client.start(WORK.definitions[0]["id"], {})).ok
    finally:
        recorder.close()


async def _first_record(consumer: Consumer) -> Record:
    async for _ in Deadline(WITHIN_S).attempts(0):
        if (record := await consumer.next()) is not None:
            return record
    raise AssertionError("the consumer got nothing in time")


async def _consumes(broker: Broker, job_type: str) -> bool:
    return "exercise" in (await broker.consumers([job_type])).get(job_type, ())


async def broker_network(ability: BrokerNetwork, cluster: Cluster, _folder: Path) -> None:
    """By the one mode that every backend has."""
    await reaches_broker(cluster, REPLICA)
    await ability.cut("refuse")
    try:
        assert ability.cut_connections() > 0
        assert ability.dropped_bytes() == 0
    finally:
        await ability.mend()
    await reaches_broker(cluster, REPLICA)


async def broker_process(ability: BrokerProcess, cluster: Cluster, _folder: Path) -> None:
    """Each way to log in has its turn in a drill of its own."""
    whole, boots = cluster.ability(Broker), cluster.ability(Boots)
    for end in (ability.crash, ability.stop):
        await end()
        with pytest.raises(ClusterError):
            await whole.until_ready(1.0)
        await whole.start()
    ability.capture()
    refused, accepted = ability.refused_logins(WORK.job_types())[0], ability.accepted_logins()[0]
    bad = await boots.boot(refused.values, bound_s=BOOT_BOUND_S)
    assert bad.exit_code, bad.output
    assert all(line in bad.output for line in refused.expected)
    good = await boots.boot(accepted.values, bound_s=BOOT_BOUND_S)
    assert good.ready, good.output
    assert all(line in good.output for line in accepted.expected)
    wire = read_wire(ability.captured(), [*whole.secrets(), *refused.needles])
    assert wire.streams > 0
    assert (wire.plain_streams, wire.needles_seen) == (0, 0)

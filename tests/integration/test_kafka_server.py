"""The real broker: its three doors, its users, what survives a crash, and workers that consume from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from patience import eventually
from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.kafka.external import ExternalKafka
from seatrial.cluster.kafka.names import topic_of
from seatrial.cluster.kafka.server import KafkaServer
from seatrial.cluster.wire import read_wire
from seatrial.gen.workflow_pb2 import JobDispatchEvent
from seatrial.history import Op, Recorder
from seatrial.workload import Handler, WorkerSpec
from seatrial.workload.pool import WorkerPool

pytestmark = [
    # Its jars come from a repository, the first time on a machine.
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="module"),
]
WITHIN_S = 60.0
TOPIC = topic_of("pay")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaServer]:
    async with KafkaServer(tmp_path_factory.mktemp("kafka") / "kafka.log") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def broker(server: KafkaServer) -> AsyncIterator[KafkaServer]:
    await server.clear()
    await server.create_destinations(["pay"])
    yield server
    await server.mend()


def options(values: Any) -> dict[str, Any]:
    """Of librdkafka, from what the chart is given."""
    found = {"bootstrap.servers": values["seedBrokers"], "log_level": 0}
    if values["transport"] == "sasl_scram_tls":
        found |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": values.get("saslMechanism", "SCRAM-SHA-512"),
            "sasl.username": values["saslUsername"],
            "sasl.password": values["saslPassword"],
            "ssl.ca.location": values["tlsCaPath"],
        }
    return found


def produced(values: Any, count: int = 1, value: bytes = b"v", *, within_s: float = WITHIN_S) -> list[str]:
    """Names of what went wrong, of each record that did not arrive."""
    wrong: list[str] = []
    timeout_ms = {"message.timeout.ms": round(within_s * 1000)}
    producer = kafka.Producer(
        {**options(values), **timeout_ms, "enable.idempotence": True, "logger": _silent()}
    )
    for number in range(count):
        producer.produce(
            TOPIC, value, key=f"i{number}", headers={"dedup-id": f"d{number}"},
            on_delivery=lambda error, _message: wrong.append(error.name()) if error else None,
        )  # fmt: skip
    producer.flush(within_s + 5)
    return wrong


def refused(values: Any) -> list[str]:
    """As `produced`, of one that will wait in vain."""
    return produced(values, within_s=4.0)


def _silent() -> Any:
    import logging

    logger = logging.getLogger("librdkafka of a test")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


async def test_all_that_engines_send_is_read_past_the_proxy(broker: KafkaServer) -> None:
    assert await asyncio.to_thread(produced, broker.kafka_values(secured=False), 50) == []
    records = await broker.records()
    assert len(records) == 50
    assert {record.ordering_key for record in records} == {f"i{number}" for number in range(50)}
    assert len({record.partition for record in records}) > 1
    assert {record.envelope_dedup_id for record in records} == {f"d{number}" for number in range(50)}
    assert {(record.destination, record.event, record.epoch) for record in records} == {(TOPIC, None, None)}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_engine_logs_in_and_nothing_shows_on_the_wire(broker: KafkaServer, mechanism: str) -> None:
    values = {**broker.kafka_values(secured=True), "saslMechanism": mechanism}
    assert await asyncio.to_thread(produced, values, 5, b"payload-of-a-job") == []
    wire = read_wire(broker.captured(), [*broker.secrets(), "payload-of-a-job", TOPIC])
    assert wire.bytes > 1000
    assert (wire.plain_streams, wire.needles_seen) == (0, 0)


async def test_plaintext_at_the_secured_door_is_seen_for_what_it_is(broker: KafkaServer) -> None:
    plain = {"seedBrokers": broker.kafka_values(secured=True)["seedBrokers"], "transport": "plaintext"}
    assert await asyncio.to_thread(refused, plain) != []
    assert read_wire(broker.captured(), []).plain_streams > 0


async def test_the_stranger_logs_in_and_may_do_nothing(broker: KafkaServer) -> None:
    # A principal without any right is not even told that the topic is there.
    assert await asyncio.to_thread(refused, broker.stranger_values()) != []
    assert await broker.records() == []


async def test_another_authority_is_not_believed(broker: KafkaServer) -> None:
    values = {**broker.kafka_values(secured=True), "tlsCaPath": str(broker.other_authority())}
    assert await asyncio.to_thread(refused, values) == ["_MSG_TIMED_OUT"]


async def test_a_crash_keeps_topics_and_records(broker: KafkaServer) -> None:
    assert await asyncio.to_thread(produced, broker.kafka_values(secured=False), 20) == []
    await broker.crash()
    assert not broker.running
    await broker.start()
    assert len(await broker.records()) == 20
    assert await asyncio.to_thread(produced, broker.kafka_values(secured=True), 5) == []


async def test_a_cut_swallows_and_the_mend_delivers(broker: KafkaServer) -> None:
    values = broker.kafka_values(secured=False)
    await broker.cut("blackhole")
    assert await asyncio.to_thread(refused, values) == ["_MSG_TIMED_OUT"]
    assert broker.dropped_bytes() > 0
    await broker.mend()
    assert await asyncio.to_thread(produced, values) == []


async def test_the_next_drill_begins_with_no_topic(broker: KafkaServer) -> None:
    await asyncio.to_thread(produced, broker.kafka_values(secured=False), 3)
    await broker.clear()
    assert await broker.records() == []
    await broker.create_destinations(["pay"])
    assert await broker.records() == []


async def test_somebody_elses_cluster_loses_only_what_was_made_there(broker: KafkaServer) -> None:
    external = ExternalKafka(broker.access().bootstrap)
    await external.start()
    with pytest.raises(ClusterError, match=r"workflow\.jobs\.pay"):
        await external.create_destinations(["pay"])
    await external.create_destinations(["other"])
    await external.close()
    with pytest.raises(ClusterError, match="SEATRIAL_KAFKA_USERNAME"):
        external.engine_values(secured=True)
    assert await broker.records() == []


# -- workers ---------------------------------------------------------------------------------------


class Answers:
    """Where workers complete: every call is noted and answered `status`."""

    def __init__(self) -> None:
        self.status = 204
        self.completed: list[str] = []
        self.failed: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        job_id, verb = request.path.split("/")[-2:]
        if self.status < 400:
            (self.completed if verb == "complete" else self.failed).append(job_id)
        return web.Response(status=self.status)


@pytest_asyncio.fixture(loop_scope="module")
async def answers() -> AsyncIterator[Answers]:
    made = Answers()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]  # type: ignore[attr-defined]
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def pool(tmp_path: Path, broker: KafkaServer, answers: Answers) -> AsyncIterator[WorkerPool]:
    recorder = Recorder(tmp_path)
    url = f"http://127.0.0.1:{answers.port}"  # type: ignore[attr-defined]
    made = WorkerPool(
        tmp_path,
        [Replica("replica-0", url, None)],
        recorder,
        "1",
        way="consume",
        broker=broker.consumer_access(),
    )
    yield made
    await made.close()
    recorder.close()


async def publish(broker: KafkaServer, *dedup_ids: str) -> None:
    """Job J<n> under dedup id D<n>, or whatever stands behind a colon."""

    def send() -> None:
        producer = kafka.Producer(options(broker.kafka_values(secured=False)))
        for each in dedup_ids:
            dedup_id, _, job_id = each.partition(":")
            event = JobDispatchEvent(
                dedup_id=dedup_id, job_id=job_id or dedup_id.replace("D", "J"), instance_id="I1",
                step_execution_id="S1", job_type="pay", job_payload=json.dumps({"amount": 1}).encode(),
            )  # fmt: skip
            producer.produce(TOPIC, event.SerializeToString(), key="I1")
        producer.flush(10)

    await asyncio.to_thread(send)


def ops(folder: Path, f: str) -> list[Op]:
    lines = (folder / "history.jsonl").read_bytes().splitlines()
    return [op for line in lines if (op := msgspec.json.decode(line, type=Op)).f == f]


def spec(**changes: Any) -> WorkerSpec:
    return WorkerSpec(**{"handlers": {"pay": Handler()}, "session_timeout_s": 1.5, **changes})


async def test_a_worker_drops_repeats_completes_and_acknowledges(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    await publish(broker, "D1", "D2", "D1", ":J9", ":J9")
    pool.start(spec())
    await eventually(lambda: len(ops(tmp_path, "acknowledge")) == 5, WITHIN_S)
    # Without a dedup id nothing is dropped.
    assert answers.completed == ["J1", "J2", "J9", "J9"]
    assert [op.value["repeated"] for op in ops(tmp_path, "deliver")] == [False, False, True, False, False]
    assert [op.value["position"] for op in ops(tmp_path, "acknowledge")] == [0, 1, 2, 3, 4]
    assert await pool.stop(0) == 0
    await publish(broker, "D3")
    pool.restart(0)
    await eventually(lambda: answers.completed[-1] == "J3", WITHIN_S)
    assert len(ops(tmp_path, "deliver")) == 6


async def test_a_completion_that_nobody_takes_is_acknowledged_all_the_same(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    answers.status = 503
    await publish(broker, "D1", "D2")
    pool.start(spec())
    await eventually(lambda: len(ops(tmp_path, "acknowledge")) == 2, WITHIN_S)
    assert len(ops(tmp_path, "fail_job")) == 0
    assert [op.type for op in ops(tmp_path, "complete")] == ["invoke", "info"] * 2


async def test_other_runners_send_a_fail_after_it(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    answers.status = 503
    await publish(broker, "D1")
    pool.start(spec(fails_after_lost_complete=True))
    await eventually(lambda: len(ops(tmp_path, "acknowledge")) == 1, WITHIN_S)
    assert [op.type for op in ops(tmp_path, "fail_job")] == ["invoke", "info"]


async def test_who_never_acknowledges_leaves_all_to_the_next(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    await publish(broker, "D1", "D2")
    pool.start(spec(acknowledges="never"))
    await eventually(lambda: answers.completed == ["J1", "J2"], WITHIN_S)
    await pool.kill(0)
    pool.start(spec())
    await eventually(lambda: answers.completed == ["J1", "J2", "J1", "J2"], WITHIN_S)
    await eventually(lambda: len(ops(tmp_path, "acknowledge")) == 2, WITHIN_S)
    assert {op.process for op in ops(tmp_path, "acknowledge")} == {"worker-1"}


async def test_who_acknowledges_early_takes_what_it_had_in_hand_along(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    await publish(broker, "D1", "D2")
    pool.start(spec(acknowledges="early", handlers={"pay": Handler(hold=True)}))
    await eventually(lambda: ops(tmp_path, "execute"), WITHIN_S)
    await pool.kill(0)
    pool.start(spec())
    await eventually(lambda: answers.completed == ["J2"], WITHIN_S)


async def test_a_poison_message_is_named_and_left_behind(
    broker: KafkaServer, pool: WorkerPool, answers: Answers, tmp_path: Path
) -> None:
    await asyncio.to_thread(produced, broker.kafka_values(secured=False), 1, b"\xff\xff\xff")
    pool.start(spec())
    await eventually(lambda: len(ops(tmp_path, "acknowledge")) == 1, WITHIN_S)
    (poison,) = ops(tmp_path, "undecodable")
    assert "DecodeError" in poison.value["cause"]
    assert answers.completed == []

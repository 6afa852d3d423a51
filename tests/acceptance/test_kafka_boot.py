"""Contract 6.5, 6.6: the boot of mode kafka_outbox line by line, and each reason for which it must not happen."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from engine_on_trial import rows
from engine_process import EngineProcess, RunWindlass
from workflow import END, document, service

from kafka_broker import KafkaBroker
from kafka_broker import variables as broker_variables
from patience import eventually
from seatrial.cluster.kafka.settings import ENGINE_USER
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
]

SAME_HOST_OTHER_NAME = "127.1"
"""Resolves to the loopback address, and no certificate bears it."""
REFUSED_WITHIN_S = 25.0
"""The engine gives up after 8 s; the rest is a busy machine's start-up."""


def plaintext(dsn: str, address: str) -> dict[str, str]:
    values = {"seedBrokers": address, "transport": "plaintext"}
    return {"WE_POSTGRES_DSN": dsn, **broker_variables(values)}


def secured(dsn: str, broker: KafkaBroker, **more: str) -> dict[str, str]:
    return {"WE_POSTGRES_DSN": dsn, **broker_variables(broker.kafka_values(secured=True)), **more}


def boot_lines(process: EngineProcess) -> list[str]:
    """The lines of contract 6.5, without those of the schema and the doors."""
    return [line["msg"] for line in process.log() if line["msg"].startswith("[dispatch]")]


async def refused(process: EngineProcess, broker: KafkaBroker | None = None) -> str:
    assert await process.ended(REFUSED_WITHIN_S) == 1
    for secret in broker.secrets() if broker else ():
        assert secret not in process.stdout + process.stderr
    assert not process.log(msg="engine: REST listening")
    return await process.refused_to_boot()


async def store_definition(windlass: RunWindlass, dsn: str, *job_types: str) -> None:
    """By an engine in polling mode, as before the switch."""
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    steps = [
        service(f"s{n}", f"s{n + 1}", jobType=None) | {"jobType": job_type}
        for n, job_type in enumerate(job_types)
    ]
    body = document("d") | {"steps": [*steps, END | {"id": f"s{len(job_types)}"}]}
    assert (await engine.post("/v1/definitions", body)).status == 201
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    assert "kafka" not in process.stdout.lower()


def creating_topics(definitions: Path) -> tuple[str, ...]:
    """The command's words; later ones of the same name win."""
    shape = ("--replication-factor", "1", "--partitions", "5")
    return "topics", "--definitions", str(definitions), *shape, "--apply"


async def test_the_lines_of_a_good_boot(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    word = secrets.token_hex(4)
    job_types = [f"{word}-bill", f"{word}-send-email"]
    topics = [f"workflow.jobs.{job_type}" for job_type in job_types]
    await broker.create(*topics)
    await store_definition(windlass, dsn, *job_types)
    process, engine = await windlass.serving(**plaintext(dsn, broker.address))
    assert boot_lines(process) == [
        "[dispatch] mode=kafka_outbox",
        f"[dispatch] kafka transport=plaintext brokers=[{broker.address}]",
        f"[dispatch] validating topics: {topics[0]},{topics[1]}",
        "[dispatch] all topics present",
        "[dispatch] advisory-lock handshake ok",
        "[dispatch] migration 0009_dispatch_outbox applied",
        "[dispatch] relay started; this replica is leader=true",
    ]
    (started,) = process.log(msg="kafka_outbox: runtime started")
    assert (started["transport"], started["seed_brokers"]) == ("plaintext", broker.address)
    assert process.log(msg="kafka_outbox: validating topics")[0]["count"] == 2
    assert process.log(msg="engine: dispatch runtime ready")[0]["mode"] == "kafka_outbox"
    assert process.stderr == "", "the client library says nothing there"

    poll = await engine.post("/v1/jobs/poll", "anything")
    assert poll.status == 410
    assert (poll.json["error"], poll.json["dispatch_mode"]) == ("poll path disabled", "kafka_outbox")
    assert "workflow.jobs.<jobType>" in poll.json["hint"]
    detailed = (await engine.get("/health/detailed")).json
    assert detailed["relay"] == {
        "leader": True,
        "epoch": 1,
        "broker": "reachable",
        "topicsWaiting": [],
        "topicsUnusable": [],
    }
    assert (await engine.get("/ready")).json == {"ready": True, "reasons": []}
    text = await engine.metrics()
    assert "workflow_engine_dispatch_relay_leader 1.0" in text
    assert "job_poll_latency_seconds" not in text

    began_s = time.monotonic()
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    assert time.monotonic() - began_s < 8
    assert [line["msg"] for line in process.log()][-2:] == [
        "kafka_outbox: runtime stopped",
        "engine: stopped",
    ]


async def test_a_fresh_database_has_no_topics_to_validate_and_a_standby_says_so(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    await windlass.serving(**plaintext(dsn, broker.address))
    standby, _ = await windlass.serving(**plaintext(dsn, broker.address))
    assert "[dispatch] validating topics: (none)" in boot_lines(standby)
    assert boot_lines(standby)[-1] == "[dispatch] relay started; this replica is leader=false"


async def test_every_missing_topic_is_named(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    word = secrets.token_hex(4)
    await broker.create(f"workflow.jobs.{word}-there")
    await store_definition(windlass, dsn, f"{word}-there", f"{word}-gone", f"{word}-away", "no topic at all")
    process = await windlass(**plaintext(dsn, broker.address))
    text = await refused(process)
    assert f"workflow.jobs.{word}-gone (UNKNOWN_TOPIC_OR_PART" in text
    assert f"workflow.jobs.{word}-away (UNKNOWN_TOPIC_OR_PART" in text
    assert "workflow.jobs.no topic at all (" in text
    assert f"workflow.jobs.{word}-there" not in text
    assert "windlass topics --apply" in text
    assert boot_lines(process)[-1].startswith("[dispatch] validating topics: ")
    assert f"workflow.jobs.{word}-gone" not in await broker.topics()


async def test_nobody_listens(windlass: RunWindlass, server: PostgresServer, dsn: str) -> None:
    """Also on a fresh database, where no topic needs asking for."""
    ports = Ports()
    one, other = ports.take(), ports.take()
    ports.close()
    process = await windlass(**plaintext(dsn, f"127.0.0.1:{one},127.0.0.1:{other}"))
    text = await refused(process)
    for gist in (f"127.0.0.1:{one}", "Connection refused", "WE_KAFKA_SEED_BROKERS"):
        assert gist in text
    database = urlsplit(dsn).path.removeprefix("/")
    assert await rows(server.dsn(database), "SELECT 1 FROM windlass_node") == []


async def test_somebody_listens_and_says_nothing(windlass: RunWindlass, dsn: str) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        text = await refused(await windlass(**plaintext(dsn, f"127.0.0.1:{mute.getsockname()[1]}")))
    assert "no Kafka broker of 127.0.0.1" in text


async def test_a_host_without_address(windlass: RunWindlass, dsn: str) -> None:
    text = await refused(await windlass(**plaintext(dsn, "no-such-host.invalid:9092")))
    assert "no-such-host.invalid" in text
    assert "WE_KAFKA_SEED_BROKERS" in text


async def test_the_schema_is_not_there(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    process = await windlass(**plaintext(dsn, broker.address), WINDLASS_MIGRATE_ON_START="false")
    text = await refused(process)
    assert "0009_dispatch_outbox" in text
    assert "windlass migrate" in text


# -- secured


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_lines_of_a_secured_boot(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker, mechanism: str
) -> None:
    variables = secured(dsn, broker, WE_KAFKA_SASL_MECHANISM=mechanism)
    process, engine = await windlass.serving(**variables)
    assert boot_lines(process) == [
        "[dispatch] mode=kafka_outbox",
        f"[dispatch] kafka transport=sasl_scram_tls mechanism={mechanism}",
        "[dispatch] TLS handshake ok",
        f"[dispatch] SASL auth ok as user={ENGINE_USER}",
        "[dispatch] validating topics: (none)",
        "[dispatch] all topics present",
        "[dispatch] advisory-lock handshake ok",
        "[dispatch] migration 0009_dispatch_outbox applied",
        "[dispatch] relay started; this replica is leader=true",
    ]
    job_type = secrets.token_hex(4)
    await broker.create(f"workflow.jobs.{job_type}")
    body = document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}
    assert (await engine.post("/v1/definitions", body)).status == 201
    assert (await engine.post("/v1/instances", {"definitionId": "d"})).status == 201

    async def arrived() -> bool:
        return len(await broker.records_of(f"workflow.jobs.{job_type}")) == 1

    await eventually(arrived)
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    for secret in broker.secrets():
        assert secret not in process.stdout + process.stderr


@pytest.mark.parametrize(
    "wrong",
    [{"WE_KAFKA_SASL_PASSWORD": "another"}, {"WE_KAFKA_SASL_USERNAME": "nobody"}],
    ids=["password", "user"],
)
async def test_credentials_that_are_not_known(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker, wrong: dict[str, str]
) -> None:
    process = await windlass(**secured(dsn, broker) | wrong)
    text = await refused(process, broker)
    assert "SASL authentication of user" in text
    assert "check WE_KAFKA_SASL_USERNAME, WE_KAFKA_SASL_PASSWORD" in text
    assert "[dispatch] SASL auth ok" not in process.stdout


async def test_a_certificate_of_an_authority_that_is_not_trusted(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    for ca in (str(broker.other_authority()), ""):
        text = await refused(await windlass(**secured(dsn, broker, WE_KAFKA_TLS_CA_PATH=ca)), broker)
        assert "the TLS handshake with" in text
        assert "check WE_KAFKA_TLS_CA_PATH" in text


async def test_a_certificate_for_another_host(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    variables = secured(dsn, broker)
    address = variables["WE_KAFKA_SEED_BROKERS"]
    variables["WE_KAFKA_SEED_BROKERS"] = address.replace("127.0.0.1", SAME_HOST_OTHER_NAME)
    text = await refused(await windlass(**variables), broker)
    assert "the TLS handshake with" in text
    assert "that the brokers' certificates name the hosts dialled" in text


async def test_a_principal_that_may_not_touch_the_topic(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    job_type = secrets.token_hex(4)
    await broker.create(f"workflow.jobs.{job_type}")
    await store_definition(windlass, dsn, job_type)
    stranger = {"WE_POSTGRES_DSN": dsn, **broker_variables(broker.stranger_values())}
    text = await refused(await windlass(**stranger), broker)
    assert f"workflow.jobs.{job_type} (TOPIC_AUTHORIZATION_FAILED" in text
    assert "let this principal describe and write them" in text


async def test_neither_transport_gives_way_to_the_other(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    secured_address = secured(dsn, broker)["WE_KAFKA_SEED_BROKERS"]
    in_clear = await refused(await windlass(**plaintext(dsn, secured_address)))
    assert "WE_KAFKA_TRANSPORT" in in_clear
    variables = secured(dsn, broker, WE_KAFKA_SEED_BROKERS=broker.address)
    in_tls = await refused(await windlass(**variables), broker)
    assert "the TLS handshake with" in in_tls
    assert "that this listener speaks TLS" in in_tls


# -- polling mode


async def test_polling_mode_loads_no_client(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    """What is mapped into the process is the truth of what it has imported."""
    polling, _ = await windlass.serving(WE_POSTGRES_DSN=dsn)
    maps = Path(f"/proc/{polling.pid}/maps").read_text()
    assert "asyncpg" in maps
    assert "confluent_kafka" not in maps
    assert "librdkafka" not in maps
    assert "kafka" not in polling.stdout.lower()
    polling.send(signal.SIGTERM)
    assert await polling.ended() == 0
    event_driven, _ = await windlass.serving(**plaintext(dsn, broker.address))
    maps = Path(f"/proc/{event_driven.pid}/maps").read_text()
    assert "confluent_kafka" in maps
    assert "librdkafka" in maps


# -- the topics command


async def test_topics_are_created_once(windlass: RunWindlass, broker: KafkaBroker, tmp_path: Path) -> None:
    word = secrets.token_hex(4)
    path = tmp_path / "d.json"
    one, two = f"workflow.jobs.{word}-a", f"workflow.jobs.{word}-b"
    await broker.create(two, partitions=2)
    steps = f'{{"id":"s","name":"s","type":"SERVICE_TASK","jobType":"{word}-a","nextStep":"t"}},'
    steps += f'{{"id":"t","name":"t","type":"SERVICE_TASK","jobType":"{word}-b","nextStep":"end"}},'
    path.write_text(f'{{"id":"d","name":"d","steps":[{steps}{{"id":"end","name":"e","type":"END"}}]}}')
    words = creating_topics(path)
    variables = {"WE_KAFKA_SEED_BROKERS": broker.address, "WE_KAFKA_TRANSPORT": "plaintext"}
    first = await windlass(*words, **variables)
    assert await first.ended() == 0, first.stderr
    assert first.stdout.splitlines() == [
        f"{one}  created, partitions=5 replication-factor=1",
        f"{two}  exists with 2 partitions, not 5: left as it is",
    ]
    again = await windlass(*words, **variables)
    assert await again.ended() == 0, again.stderr
    assert again.stdout.splitlines()[0] == f"{one}  exists with 5 partitions"
    path.write_text(path.read_text().replace(f"{word}-a", f"{word}-c"))
    too_many = await windlass(*words[:-2], "3", "--replication-factor", "3", "--apply", **variables)
    assert await too_many.ended() == 1
    assert f"workflow.jobs.{word}-c  refused: INVALID_REPLICATION_FACTOR" in too_many.stdout
    assert "1 of 2 topics could not be created" in too_many.stderr

"""WE_KAFKA_TLS_SERVER_NAME: brokers whose certificates bear another name than the host at which they are reached."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from engine_process import EngineProcess, RunWindlass
from test_kafka_boot import boot_lines, creating_topics, refused, secured, store_definition
from workflow import END, document, service

from kafka_broker import KafkaBroker
from patience import eventually
from seatrial.cluster.kafka.settings import ENGINE_USER
from seatrial.gen.workflow_pb2 import JobDispatchEvent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
]
NAME = "broker.example"
RIGHT = {"WE_KAFKA_TLS_SERVER_NAME": NAME}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    """Reached, and advertised, at an address that its certificate does not bear."""
    log_path = tmp_path_factory.mktemp("kafka") / "kafka.log"
    async with KafkaBroker(log_path, names=[NAME], addresses=[]) as running:
        yield running


def says_no_secret(process: EngineProcess, broker: KafkaBroker) -> None:
    for secret in broker.secrets():
        assert secret not in process.stdout + process.stderr


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_job_is_done_where_certificates_bear_another_name(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker, mechanism: str
) -> None:
    broker.capture()
    job_type = secrets.token_hex(4)
    topic = f"workflow.jobs.{job_type}"
    await broker.create(topic)
    variables = secured(dsn, broker, WE_KAFKA_SASL_MECHANISM=mechanism, **RIGHT)
    # At the level at which the client itself would tell its settings.
    process, engine = await windlass.serving(**variables, WE_LOG_LEVEL="debug")
    assert boot_lines(process)[1:4] == [
        f"[dispatch] kafka transport=sasl_scram_tls mechanism={mechanism}",
        "[dispatch] TLS handshake ok",
        f"[dispatch] SASL auth ok as user={ENGINE_USER}",
    ]
    body = document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}
    assert (await engine.post("/v1/definitions", body)).status == 201
    started = await engine.post("/v1/instances", {"definitionId": "d", "variables": {"who": "Ada"}})
    assert started.status == 201

    async def arrived() -> bool:
        return bool(await broker.records_of(topic))

    await eventually(arrived)
    (record,) = await broker.records_of(topic)
    event = JobDispatchEvent.FromString(record.value)
    assert (record.key.decode(), json.loads(event.job_payload)) == (started.json["id"], {"who": "Ada"})
    done = await engine.post(
        f"/v1/jobs/{event.job_id}/complete", {"workerId": "w", "variables": {"said": "Hello"}}
    )
    assert done.status == 204
    instance = (await engine.get(f"/v1/instances/{started.json['id']}")).json
    assert (instance["status"], instance["variables"]) == ("COMPLETED", {"who": "Ada", "said": "Hello"})
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    assert process.stderr == "", "the client library says nothing there"
    says_no_secret(process, broker)


@pytest.mark.parametrize("name", ["", "127.0.0.1", "other.example"], ids=["no name", "the host", "another"])
async def test_no_other_name_is_accepted(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker, name: str
) -> None:
    text = await refused(await windlass(**secured(dsn, broker, WE_KAFKA_TLS_SERVER_NAME=name)), broker)
    assert "the TLS handshake with 127.0.0.1:" in text
    assert "certificate verify failed" in text
    assert "check WE_KAFKA_TLS_CA_PATH" in text
    assert f"name {name or 'the hosts dialled or'} " in text
    assert "WE_KAFKA_TLS_SERVER_NAME" in text


async def test_the_right_name_of_an_authority_that_is_not_trusted(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    for ca in (str(broker.other_authority()), ""):
        text = await refused(await windlass(**secured(dsn, broker, **RIGHT, WE_KAFKA_TLS_CA_PATH=ca)), broker)
        assert "the TLS handshake with" in text
        assert "check WE_KAFKA_TLS_CA_PATH" in text


@pytest.mark.parametrize(
    "wrong",
    [{"WE_KAFKA_SASL_PASSWORD": "another"}, {"WE_KAFKA_SASL_USERNAME": "nobody"}],
    ids=["password", "user"],
)
async def test_credentials_that_are_not_known(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker, wrong: dict[str, str]
) -> None:
    text = await refused(await windlass(**secured(dsn, broker, **RIGHT) | wrong), broker)
    assert "SASL authentication of user" in text
    assert "check WE_KAFKA_SASL_USERNAME, WE_KAFKA_SASL_PASSWORD" in text


async def test_a_name_that_no_host_can_have(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> None:
    text = await refused(await windlass(**secured(dsn, broker, WE_KAFKA_TLS_SERVER_NAME=".example")), broker)
    assert "check WE_KAFKA_TLS_SERVER_NAME" in text


async def test_a_missing_topic_is_named_and_not_made(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    job_type = secrets.token_hex(4)
    await store_definition(windlass, dsn, job_type)
    text = await refused(await windlass(**secured(dsn, broker, **RIGHT)), broker)
    assert f"workflow.jobs.{job_type} (UNKNOWN_TOPIC_OR_PART" in text
    assert f"workflow.jobs.{job_type}" not in await broker.topics()


async def test_topics_are_created_by_way_of_it(
    windlass: RunWindlass, broker: KafkaBroker, tmp_path: Path
) -> None:
    await broker.let_create(ENGINE_USER)
    job_type = secrets.token_hex(4)
    path = tmp_path / "d.json"
    path.write_text(json.dumps(document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}))
    words = creating_topics(path)
    variables = secured("", broker, **RIGHT)
    for told in ("created, partitions=5 replication-factor=1", "exists with 5 partitions"):
        process = await windlass(*words, **variables)
        assert await process.ended() == 0, process.stderr
        assert process.stdout.splitlines() == [f"workflow.jobs.{job_type}  {told}"]
    path.write_text(path.read_text().replace(job_type, f"{job_type}-b"))
    too_many = await windlass(*words, "--replication-factor", "3", **variables)
    assert await too_many.ended() == 1
    assert f"workflow.jobs.{job_type}-b  refused: INVALID_REPLICATION_FACTOR" in too_many.stdout

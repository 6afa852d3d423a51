"""What the chart hands to others, tried on a running engine: `helm test`'s program, alerts, dashboards, runbooks, and a
database told in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from engine_process import RunWindlass
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from workflow import END, service

from kafka_broker import KafkaBroker
from seatrial.cluster.certificate import Authority, new_authority
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer
from seatrial.render import default_chart, render_chart

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("chart_in_use")]

CHART = default_chart()
RUNBOOKS = CHART.parents[1] / "docs" / "runbooks"
MODES = ("polling", "kafka_outbox")
OF_PROMETHEUS = {"up"}
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
AWKWARD = "pass $(PGUSER)'\\word/@:#%&=?"


# -- helm test


async def helm_test(url: str, step: str) -> tuple[int, str]:
    """The program of the test's pod, run with its image's interpreter replaced by ours."""
    rendered = render_chart(CHART, {"postgresql": {"existingSecret": "db"}}, "rel", "ns")
    (pod,) = rendered.of_kind("Pod")
    _, *arguments = pod["spec"]["containers"][0]["command"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={"WINDLASS_URL": url, "WINDLASS_STEP": step},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


@pytest.mark.parametrize("step", ["SERVICE_TASK", "USER_TASK"])
async def test_helm_test_does_one_real_job_again_and_again(engine: EngineClient, step: str) -> None:
    name = f"helm-test-{step.lower().replace('_', '-')}"
    for _ in range(2):
        exit_code, told = await helm_test(engine.rest_url, step)
        assert exit_code == 0, told
        instance = await engine.instance({"id": told.split()[1].rstrip(":")})
        assert (instance["definitionId"], instance["status"]) == (name, "COMPLETED")
        assert told.endswith("reaches the database by: direct, with sessions of its own\n")
        assert instance["definitionVersion"] == 1, "the definition is stored once"


async def test_helm_test_works_off_what_a_broken_test_left(engine: EngineClient) -> None:
    assert (await helm_test(engine.rest_url, "SERVICE_TASK"))[0] == 0
    left = (await engine.post("/v1/instances", {"definitionId": "helm-test-service-task"})).json
    exit_code, told = await helm_test(engine.rest_url, "SERVICE_TASK")
    assert exit_code == 0, told
    assert await engine.status(left) == "COMPLETED"


async def test_helm_test_fails_where_there_is_no_engine(engine: EngineClient) -> None:
    exit_code, told = await helm_test(engine.metrics_url, "SERVICE_TASK")
    assert exit_code == 1
    assert told.startswith("POST /v1/definitions: 404")


# -- alerts and dashboards


def named(text: str) -> set[str]:
    """Every metric that some PromQL in a file reads, by its family."""
    found = set(re.findall(r"\b([a-z_]+)\{(?:@selector@|namespace=)", text))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found} - OF_PROMETHEUS


def families(text: str) -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
    }


def claimed(group: str) -> set[str]:
    alerts = (CHART / "files" / "alerts" / f"{group}.yaml").read_text()
    dashboard: dict[str, Any] = json.loads((CHART / "files" / "dashboards" / f"{group}.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return named(alerts) | named("\n".join(expressions))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scrapes(
    server: PostgresServer, broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, set[str]]]:
    """What an engine in each mode shows, after it has had something to do."""
    found = {}
    runner = RunWindlass(tmp_path_factory.mktemp("scraped"), secret=server.secret)
    for mode in MODES:
        name = f"scraped_{mode}"
        await server.create_database(name)
        kafka = {"WE_KAFKA_SEED_BROKERS": broker.address, "WE_KAFKA_TRANSPORT": "plaintext"}
        variables = kafka if mode == "kafka_outbox" else {}
        _, engine = await runner.serving(
            WE_POSTGRES_DSN=server.engine_dsn(name), WE_DISPATCH_MODE=mode, **variables
        )
        workflow = await engine.define(END)
        await workflow.start()
        found[mode] = families(await engine.metrics())
    await runner.close()
    for mode in MODES:
        await server.drop_database(f"scraped_{mode}")
    yield found


@pytest.mark.parametrize("mode", MODES)
async def test_alerts_and_dashboards_read_what_an_engine_of_that_mode_shows(
    scrapes: dict[str, set[str]], mode: str
) -> None:
    for group in ("engine", mode):
        assert claimed(group)
        assert claimed(group) <= scrapes[mode], group


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_claimed_for_one_mode_is_not_there_in_the_other(
    scrapes: dict[str, set[str]], mode: str
) -> None:
    (other,) = set(MODES) - {mode}
    assert not claimed(mode) & scrapes[other]


async def test_a_metric_that_nobody_shows_would_be_seen(scrapes: dict[str, set[str]]) -> None:
    alert = "sum(rate(workflow_instances_begun_total{@selector@}[5m])) > up{@selector@}"
    assert named(alert) == {"workflow_instances_begun_total"}
    assert not named(alert) <= scrapes["polling"]


# -- runbooks


def queries() -> Iterator[tuple[str, str]]:
    for page in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL):
            yield page.stem, block


@pytest.mark.parametrize(("page", "query"), list(queries()), ids=lambda text: text[:24])
async def test_a_runbook_s_query_is_one_that_the_database_answers(
    on_trial: EngineOnTrial, page: str, query: str
) -> None:
    workflow = await on_trial.client.define(service("a"), END)
    await workflow.start()
    found = await on_trial.rows(query)
    assert found if "windlass/" in query else found is not None


async def test_there_are_queries() -> None:
    assert len(list(queries())) >= 6


def read_by_runbooks() -> set[str]:
    """Every metric of their queries for Prometheus, by its family."""
    pages = "".join(page.read_text() for page in RUNBOOKS.glob("*.md"))
    text = "".join(re.findall(r"```text\n(.*?)```", pages, re.DOTALL))
    found = re.findall(r"\b([a-z_]+)(?:\{[^}]*\})?\[", text)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


async def test_runbooks_read_metrics_that_engines_show(scrapes: dict[str, set[str]]) -> None:
    assert len(read_by_runbooks()) >= 2
    assert read_by_runbooks() <= set().union(*scrapes.values())


# -- a database in parts


@pytest_asyncio.fixture(loop_scope="session")
async def orders(server: PostgresServer) -> AsyncIterator[PostgresServer]:
    """Holds a database `orders`, and knows the engine by a password as awkward as one may be."""
    await server.create_database("orders")
    async with await psycopg.AsyncConnection.connect(server.dsn("orders"), autocommit=True) as connection:
        change = sql.SQL("ALTER ROLE {} PASSWORD {}")
        await connection.execute(change.format(sql.Identifier(ENGINE_ROLE), sql.Literal(AWKWARD)))
        yield server
        await connection.execute(change.format(sql.Identifier(ENGINE_ROLE), sql.Literal(server.secret)))
    await server.drop_database("orders")


@pytest.fixture
def authority() -> Authority:
    return new_authority("company")


@pytest_asyncio.fixture(loop_scope="session")
async def tls_port(orders: PostgresServer, authority: Authority, tmp_path: Path) -> AsyncIterator[int]:
    """A door in front of it that speaks TLS, with a certificate for `localhost`; the wheel's server has none itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.write_server(tmp_path / "server.pem", ["localhost"], []))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == SSL_REQUEST
        writer.write(b"S")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.start_tls(context)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", orders.port)
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        writer.close()

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()


def environment_of(port: int, **postgresql: Any) -> dict[str, str]:
    """The engine's variables as the chart makes them of a Secret like those that PostgreSQL operators write."""
    secret = {
        "host": "localhost",
        "port": str(port),
        "dbname": "orders",
        "username": ENGINE_ROLE,
        "password": AWKWARD,
    }
    metadata = {"name": "orders-app", "namespace": "ns"}
    values = {
        "postgresql": {
            "existingSecret": "orders-app",
            "secretKeys": {
                "host": "host",
                "port": "port",
                "database": "dbname",
                "user": "username",
                "password": "password",
            },
            **postgresql,
        },
        "extraObjects": [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret}],
    }
    (container,) = render_chart(CHART, values, "rel", "ns").containers()
    return {
        name: value for name, value in container.env.items() if name.startswith("PG") or name.endswith("DSN")
    }


async def test_a_database_in_parts_is_reached_whatever_is_in_its_password(
    orders: PostgresServer, windlass: RunWindlass
) -> None:
    variables = environment_of(orders.port)
    assert variables["WE_POSTGRES_DSN"] == "postgresql://"
    assert variables["PGPASSWORD"] == AWKWARD
    process, engine = await windlass.serving(**variables)
    assert (await engine.get("/ready")).status == 200
    assert AWKWARD not in process.stdout + process.stderr


async def test_its_certificate_is_verified_with_the_mounted_ca(
    tls_port: int, windlass: RunWindlass, authority: Authority, tmp_path: Path
) -> None:
    variables = environment_of(tls_port, sslmode="verify-full", tls={"existingConfigMap": "company-ca"})
    assert variables["PGSSLROOTCERT"] == "/etc/windlass/postgresql-ca/ca.crt"
    _, engine = await windlass.serving(
        **variables | {"PGSSLROOTCERT": str(authority.write(tmp_path / "ca.crt"))}
    )
    assert (await engine.get("/ready")).status == 200

    stranger = new_authority("stranger").write(tmp_path / "stranger.crt")
    process = await windlass(**variables | {"PGSSLROOTCERT": str(stranger)})
    assert await process.ended() == 1
    assert "certificate verify failed" in process.stderr

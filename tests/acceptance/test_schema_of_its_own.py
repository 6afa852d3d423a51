"""WINDLASS_SCHEMA: one database, several installations, and whatever else is in it."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Sequence

import psycopg
import pytest
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import EngineProcess, RunWindlass
from workflow import END, document, service

from kafka_broker import KafkaBroker
from kafka_broker import variables as broker_variables
from lesser_role import database_of, execute, lesser_role
from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: An installation with a name that must be quoted, and one of 63 bytes in letters that are longer than one.
SCHEMAS = ('My-"Schema"', "größe" * 9)
FOREIGN = "CREATE TABLE public.job (id integer); CREATE TABLE public.schema_migrations (version text)"

Node = tuple[EngineProcess, EngineClient]


async def tables_by_schema(server: PostgresServer, dsn: str) -> dict[str, int]:
    found = await rows(
        server.dsn(database_of(dsn)),
        "SELECT schemaname, count(*) AS count FROM pg_tables WHERE schemaname !~ '^(pg_|inf)' GROUP BY 1",
    )
    return {row["schemaname"]: row["count"] for row in found}


async def installations(windlass: RunWindlass, dsn: str, **variables: str) -> Sequence[Node]:
    return [
        await windlass.serving(
            WE_POSTGRES_DSN=dsn, WINDLASS_SCHEMA=schema, WINDLASS_NODE_NAME="the-same", **variables
        )
        for schema in SCHEMAS
    ]


async def test_two_installations_in_one_database_know_nothing_of_each_other(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    """And of the tables of the same names that another application has in schema public."""
    await execute(server, dsn, FOREIGN, f"GRANT CREATE ON DATABASE {database_of(dsn)} TO windlass")
    quick = {"WINDLASS_NODE_HEARTBEAT_SECONDS": "0.2", "WINDLASS_WAKE_MODE": "event_driven"}
    one, other = await installations(windlass, dsn, **quick)
    counts = await tables_by_schema(server, dsn)
    assert counts.pop("public") == 2
    assert counts.keys() == set(SCHEMAS)

    ours, theirs = [await engine.define(service("a"), END, id="d") for _, engine in (one, other)]
    instance = await ours.start(mine=True)
    assert (await theirs.lease("a")) == []
    assert (await other[1].get(f"/v1/instances/{instance['id']}")).status == 404
    await ours.work_off("a")
    assert await one[1].status(instance) == "COMPLETED"

    # A node name is shared within an installation only, and so is a hint.
    for process, engine in (one, other):
        assert (await engine.get("/cluster/info")).json["alive"] == 1
        assert not process.log(msg="config: warning")
    heard = await rows(
        server.dsn(database_of(dsn)), "SELECT DISTINCT query FROM pg_stat_activity WHERE query ~ '^LISTEN'"
    )
    assert len(heard) == 2
    _, beside = await windlass.serving(
        WE_POSTGRES_DSN=dsn, WINDLASS_SCHEMA=SCHEMAS[0], WINDLASS_NODE_NAME="beside", **quick
    )
    polled = asyncio.create_task(beside.poll([ours.job_type("a")], jobs_max=1, waitMs=20_000))

    async def waits() -> bool:
        return bool((await beside.get("/health/detailed")).json["polls"]["waiting"] == 1)

    await eventually(waits)
    await ours.start()
    (job,) = await asyncio.wait_for(polled, 10)
    assert job["jobType"] == ours.job_type("a")


async def test_migrations_of_one_schema_do_not_wait_for_those_of_another(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    await execute(server, dsn, f"GRANT CREATE ON DATABASE {database_of(dsn)} TO windlass")
    async with await psycopg.AsyncConnection.connect(server.dsn(database_of(dsn)), autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('public', 4893219751932018490))")
        # Nobody waits for schema public, and of four at once each finds it made.
        started = [
            await windlass("migrate", WE_POSTGRES_DSN=dsn, WINDLASS_SCHEMA=schema)
            for schema in (*SCHEMAS, *SCHEMAS)
        ]
        assert [await process.ended() for process in started] == [0, 0, 0, 0]
    assert (await tables_by_schema(server, dsn)).keys() == set(SCHEMAS)


async def test_a_schema_that_may_not_be_made_is_refused_with_the_right_that_is_missing(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    async with lesser_role(server, dsn) as role:
        await execute(server, dsn, f'GRANT CONNECT ON DATABASE {database_of(dsn)} TO "{role.name}"')
        for word in ("migrate", "serve"):
            process = await windlass(word, WE_POSTGRES_DSN=f"{role.dsn}&schema=My-Schema")
            text = await process.refused_to_boot()
            assert (
                f"the role {role.name} lacks CREATE on database {database_of(dsn)}; run: GRANT CREATE ON DATABASE "
                f"{database_of(dsn)} TO {role.name}"
            ) in text
    # Whoever may not make it can have it made.
    await execute(server, dsn, 'CREATE SCHEMA "My-Schema" AUTHORIZATION windlass')
    process = await windlass("migrate", WE_POSTGRES_DSN=f"{dsn}&currentSchema=My-Schema")
    assert await process.ended() == 0
    assert (await tables_by_schema(server, dsn)).keys() == {"My-Schema"}


@pytest.mark.slow
@pytest.mark.xdist_group("kafka")
async def test_two_installations_with_a_broker_each_have_a_leader(
    windlass: RunWindlass, server: PostgresServer, dsn: str, broker: KafkaBroker
) -> None:
    await execute(server, dsn, f"GRANT CREATE ON DATABASE {database_of(dsn)} TO windlass")
    job_types = [secrets.token_hex(4), secrets.token_hex(4)]
    await broker.create(*(f"workflow.jobs.{job_type}" for job_type in job_types))
    nodes = await installations(windlass, dsn, **broker_variables(broker.kafka_values(secured=False)))
    started = []
    for (_, engine), job_type in zip(nodes, job_types, strict=True):
        assert (await engine.get("/health/detailed")).json["relay"]["leader"] is True
        body = document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}
        assert (await engine.post("/v1/definitions", body)).status == 201
        answer = await engine.post("/v1/instances", {"definitionId": "d"})
        started.append(answer.json["id"])

    async def each_in_its_topic() -> bool:
        found = [await broker.records_of(f"workflow.jobs.{job_type}") for job_type in job_types]
        return [[record.key.decode() for record in records] for records in found] == [[id] for id in started]

    await eventually(each_in_its_topic)
    # The fast path of the lead is each schema's own: a successor does not wait for the end of a term.
    nodes[0][0].send(signal.SIGKILL)
    successor, _ = await windlass.serving(
        WE_POSTGRES_DSN=dsn,
        WINDLASS_SCHEMA=SCHEMAS[0],
        WINDLASS_LEADER_TERM_SECONDS="60",
        **broker_variables(broker.kafka_values(secured=False)),
    )
    await successor.until_logged("dispatch: became relay leader")
    assert (await nodes[1][1].get("/health/detailed")).json["relay"]["epoch"] == 1

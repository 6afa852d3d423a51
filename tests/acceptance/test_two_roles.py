"""An owner that migrates, and a role that runs the engine and can create nothing."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import WINDLASS, RunWindlass
from workflow import END, Json, Workflow, document, service, timer, user_task, wait

from kafka_broker import KafkaBroker
from kafka_broker import variables as broker_variables
from lesser_role import Role, database_of, execute, lesser_role
from patience import eventually
from seatrial.cluster.kafka.message import event_of
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

README = Path(__file__).parents[2] / "engine/README.md"
SECTION = re.compile(
    r"^## Two roles.*?```sql\n(?P<sql>.*?)```.*?```sh\n(?P<sh>.*?)```", re.DOTALL | re.MULTILINE
)
QUICK = {
    "WINDLASS_LEASE_SWEEP_SECONDS": "0.1",
    "WINDLASS_TIMER_SWEEP_SECONDS": "0.1",
    "WINDLASS_NODE_HEARTBEAT_SECONDS": "0.2",
    "WINDLASS_REDELIVERY_SECONDS": "0.5",
}
Take = Callable[[str], Awaitable[Json]]


async def migrated_for(windlass: RunWindlass, dsn: str, role: Role) -> None:
    process = await windlass("migrate", "--app-role", role.name, WE_POSTGRES_DSN=dsn)
    assert await process.ended() == 0
    assert process.log(msg="migrate: rights given", role=role.name)


def steps(*job_types: str) -> list[Json]:
    """A retried job, a timer that interrupts, a user task and a signal."""
    first, late = job_types
    return [
        service("a", "w") | {"jobType": first, "retryCount": 2},
        wait("w", "end", boundaryEvents=[timer("PT0.1S", "late", interrupting=True)]),
        service("late", "u") | {"jobType": late},
        user_task("u", "s"),
        wait("s"),
        END,
    ]


async def a_life(engine: EngineClient, take: Take, *job_types: str) -> None:
    """Whatever an engine does for an instance, and for those who look on."""
    body = document("d") | {"steps": steps(*job_types)}
    assert (await engine.post("/v1/definitions", body)).status == 201
    assert (await engine.post("/v1/definitions", body)).json["version"] == 1, "the same once more"
    workflow = Workflow(engine, "d", 1)
    instance, cancelled = await workflow.start(business_key="k"), await workflow.start()
    assert (await engine.post(f"/v1/instances/{cancelled['id']}/cancel", {"reason": "r"})).status == 200
    job = await take(job_types[0])
    await engine.fail(job, errorMessage="once more", retryable=True)
    job = await take(job_types[0])
    await engine.complete(job, n=1)
    job = await take(job_types[1])
    await engine.complete(job)
    path = f"/v1/instances/{instance['id']}"
    for what in ("user-tasks/u/complete", "signals/s"):
        assert (await engine.post(f"{path}/{what}", {"variables": {}})).status in {200, 204}
    assert await engine.status(instance) == "COMPLETED"
    for page in ("", "/history"):
        assert (await engine.get(path + page)).status == 200
    for page in (
        "/v1/definitions",
        "/v1/definitions/d",
        "/v1/instances?businessKey=k",
        "/cluster/info",
        "/ready",
    ):
        assert (await engine.get(page)).status == 200


async def test_the_engine_runs_with_the_rights_that_it_was_given_and_no_others(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    """WINDLASS_MIGRATE_ON_START is on: on a schema that is current there is nothing to do."""
    async with lesser_role(server, dsn) as role:
        await migrated_for(windlass, dsn, role)
        process, engine = await windlass.serving(WE_POSTGRES_DSN=role.dsn, **QUICK)

        async def take(job_type: str) -> Json:
            for lease_s in (1, 30):
                # The first lease lapses.
                (job,) = await engine.poll([job_type], jobs_max=1, waitMs=10_000, leaseSeconds=lease_s)
            return job

        await a_life(engine, take, "one", "two")
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
        assert not process.log(level="ERROR")
        strange = [line["msg"] for line in process.log(level="WARN") if "stale" not in line["msg"]]
        assert strange == ["auth: off, whoever reaches the ports may do everything"]
    owners = await rows(
        server.dsn(database_of(dsn)), "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    )
    assert owners == [{"tableowner": "windlass"}]


@pytest.mark.slow
@pytest.mark.xdist_group("kafka")
async def test_so_it_does_with_a_broker(
    windlass: RunWindlass, server: PostgresServer, dsn: str, broker: KafkaBroker
) -> None:
    word = secrets.token_hex(4)
    job_types = (f"{word}-one", f"{word}-two")
    await broker.create(*(f"workflow.jobs.{job_type}" for job_type in job_types))
    async with lesser_role(server, dsn) as role:
        await migrated_for(windlass, dsn, role)
        variables = broker_variables(broker.kafka_values(secured=False))
        process, engine = await windlass.serving(WE_POSTGRES_DSN=role.dsn, **variables, **QUICK)
        seen: dict[str, int] = {}

        async def take(job_type: str) -> Json:
            """The job's second message since it was last taken: nobody completed it after the first."""
            before = seen.get(job_type, 0)

            async def twice() -> list[str]:
                records = await broker.records_of(f"workflow.jobs.{job_type}")
                ids = [event_of(record.value).job_id for record in records]
                counted = {id: ids.count(id) for id in ids}
                statuses = await rows(
                    server.dsn(database_of(dsn)),
                    "SELECT id FROM job WHERE id = ANY (%s) AND status = 'UNLOCKED'",
                    ids,
                )
                seen[job_type] = len(ids)
                return [row["id"] for row in statuses if counted[row["id"]] > 1 and len(ids) > before]

            return {"id": (await eventually(twice))[0]}

        await a_life(engine, take, *job_types)
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
        assert not process.log(level="ERROR")


async def test_an_unknown_role_is_refused_before_anything_is_touched(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    process = await windlass("migrate", "--app-role=No-body", WE_POSTGRES_DSN=dsn)
    text = await process.refused_to_boot()
    assert (
        'there is no role "No-body" on this server; make it first, with CREATE ROLE "No-body" LOGIN' in text
    )
    assert (
        await rows(server.dsn(database_of(dsn)), "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    )
    for words in (("--app-role",), ("--app-role", "a", "b"), ("--role", "a")):
        process = await windlass("migrate", *words, WE_POSTGRES_DSN=dsn)
        assert await process.ended() == 2
        assert "write windlass migrate --app-role NAME" in process.stderr


async def test_a_right_that_is_missing_is_named_wherever_it_is_met(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    async with lesser_role(server, dsn) as role:
        await execute(server, dsn, f"REVOKE CONNECT ON DATABASE {database_of(dsn)} FROM PUBLIC")
        text = await (await windlass("serve", WE_POSTGRES_DSN=role.dsn)).refused_to_boot()
        assert f'GRANT CONNECT ON DATABASE "{database_of(dsn)}" TO "{role.name}"' in text
        await execute(server, dsn, f"GRANT CONNECT ON DATABASE {database_of(dsn)} TO {role.name}")
        for told, given in (
            ("USAGE ON SCHEMA public", "USAGE ON SCHEMA public"),
            ("CREATE ON SCHEMA public", ""),
        ):
            text = await (await windlass("serve", WE_POSTGRES_DSN=role.dsn)).refused_to_boot()
            privilege = told.split()[0]
            assert (
                f"the role {role.name} lacks {privilege} on schema public; run: GRANT {told} TO {role.name}"
                in text
            )
            assert f"windlass migrate --app-role {role.name}" in text
            if given:
                await execute(server, dsn, f"GRANT {given} TO {role.name}")

        await migrated_for(windlass, dsn, role)
        process, engine = await windlass.serving(WE_POSTGRES_DSN=role.dsn)
        await execute(server, dsn, f"REVOKE INSERT ON step_execution FROM {role.name}")
        told = (
            f"the role {role.name} lacks INSERT on table public.step_execution; run: GRANT INSERT ON TABLE "
            f"public.step_execution TO {role.name}"
        )
        text = await (await windlass("serve", WE_POSTGRES_DSN=role.dsn)).refused_to_boot()
        assert told in text

        async def is_unready() -> bool:
            answer = await engine.get("/ready")
            return answer.status == 503 and answer.json["reasons"] == [told]

        await eventually(is_unready)
        (lost,) = await eventually(lambda: process.log(msg="database: unreachable"))
        assert lost["err"] == told
        workflow = await engine.define(service("a"), END)
        refused = await engine.post("/v1/instances", {"definitionId": workflow.id})
        assert refused.status == 500
        (broke,) = await eventually(lambda: process.log(msg="rest: handler broke"))
        assert broke["err"] == told
        await execute(server, dsn, f"GRANT INSERT ON step_execution TO {role.name}")

        async def is_ready() -> bool:
            return (await engine.get("/ready")).status == 200

        await eventually(is_ready)
        await workflow.start()


async def test_the_commands_of_the_page(windlass: RunWindlass, server: PostgresServer) -> None:
    """As they stand there, with another name of the database and passwords of the test's own."""
    found = SECTION.search(README.read_text(encoding="utf-8"))
    assert found
    name = f"page_{secrets.token_hex(4)}"
    admin = server.dsn()
    for statement in found["sql"].replace("DATABASE windlass ", f"DATABASE {name} ").split(";\n"):
        if statement.strip():
            await rows(admin, statement)
    dsns = {
        variable: f"postgresql://{role}:{password}@127.0.0.1:{server.port}/{name}"
        for variable, role, password in (
            ("OWNER_DSN", "windlass_owner", "one"),
            ("APP_DSN", "windlass_app", "two"),
        )
    }
    migrate, serve = [line for line in found["sh"].splitlines() if not line.startswith("#")]
    try:
        path = f"{WINDLASS.parent}:{os.environ['PATH']}"
        shell = await asyncio.create_subprocess_exec("bash", "-ec", migrate, env={"PATH": path, **dsns})
        assert await shell.wait() == 0
        assert serve == "WE_POSTGRES_DSN=$APP_DSN windlass serve"
        _, engine = await windlass.serving("serve", WE_POSTGRES_DSN=dsns["APP_DSN"])
        workflow = await engine.define(service("a"), END)
        await workflow.start()
        await workflow.work_off("a")
    finally:
        await windlass.close()
        await server.drop_database(name)
        for role in ("windlass_owner", "windlass_app"):
            await rows(admin, f"DROP ROLE {role}")

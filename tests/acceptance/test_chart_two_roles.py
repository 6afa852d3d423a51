"""The chart's two Secrets: what its Job runs gives the role of its engines what they need, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import pytest_asyncio
from engine_on_trial import rows
from engine_process import RunWindlass
from psycopg import sql
from workflow import END, service

from patience import eventually
from seatrial.cluster.postgres import PostgresServer
from seatrial.render import ContainerSpec, Rendered, default_chart, render_chart

pytestmark = pytest.mark.asyncio(loop_scope="session")

APP_ROLE, PASSWORD = "orders app", "pass-word"
RETENTION_DAYS = 5e-5
"""4.32 s"""
READY = {"ready": True, "reasons": []}


@pytest_asyncio.fixture(loop_scope="session")
async def app_role(server: PostgresServer, dsn: str) -> AsyncIterator[str]:
    """A DSN of the same database, for a role that may connect and no more."""
    database = urlsplit(dsn).path.lstrip("/")
    name = sql.Identifier(APP_ROLE)
    async with await psycopg.AsyncConnection.connect(server.dsn(database), autocommit=True) as connection:
        await connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(PASSWORD))
        )
        # The owner makes the schema that the values name.
        await connection.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                sql.Identifier(database), sql.Identifier(str(urlsplit(dsn).username))
            )
        )
        yield f"host=127.0.0.1 port={server.port} dbname={database} user='{APP_ROLE}' password={PASSWORD}"
        await connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
        await connection.execute(sql.SQL("DROP ROLE {}").format(name))


def release(owner_dsn: str, app_dsn: str, *, schema: str) -> Rendered:
    secret = {"apiVersion": "v1", "kind": "Secret"}
    values: dict[str, Any] = {
        "engine": {"retentionDays": RETENTION_DAYS},
        "postgresql": {"existingSecret": "app", "schema": schema},
        "migrations": {"enabled": True, "existingSecret": "owner", "appRole": APP_ROLE},
        "extraObjects": [
            {**secret, "metadata": {"name": name, "namespace": "ns"}, "stringData": {"dsn": dsn}}
            for name, dsn in (("owner", owner_dsn), ("app", app_dsn))
        ],
    }
    return render_chart(default_chart(), values, "rel", "ns")


def of_the_database(container: ContainerSpec) -> Mapping[str, str]:
    """Its variables but for the ports, of which every process here has its own."""
    return {
        name: value
        for name, value in container.env.items()
        if name.endswith(("_DSN", "_SCHEMA", "_ON_START", "_DAYS"))
    }


@pytest.mark.parametrize("schema", ["", "orders"])
async def test_engines_of_a_role_without_create_wait_for_the_job_and_serve(
    windlass: RunWindlass, server: PostgresServer, dsn: str, app_role: str, schema: str
) -> None:
    """The engine is there first, as with a Job that is no hook."""
    rendered = release(dsn, app_role, schema=schema)
    (job,), (container,) = rendered.containers("Job"), rendered.containers()
    _, engine = await windlass.serving(**of_the_database(container))
    assert (await engine.get("/ready")).status == 503

    assert job.command[0] == "windlass"
    for _ in range(2):
        migrated = await windlass(*job.command[1:], **of_the_database(job))
        assert await migrated.ended() == 0, migrated.stderr

    async def is_ready() -> bool:
        return bool((await engine.get("/ready")).json == READY)

    await eventually(is_ready)
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"

    # It may remove, too.
    async def is_gone() -> bool:
        return (await engine.get(f"/v1/instances/{instance['id']}")).status == 404

    await eventually(is_gone)

    where = schema or "public"
    database = server.dsn(urlsplit(dsn).path.lstrip("/"))
    assert await rows(
        database,
        f"SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = '{where}'",
    ) == [{"tableowner": urlsplit(dsn).username}]
    assert await rows(
        database, f"SELECT has_schema_privilege('{APP_ROLE}', '{where}', 'CREATE') AS may_create"
    ) == [{"may_create": False}]

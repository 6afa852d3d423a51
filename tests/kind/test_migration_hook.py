"""The migration's hook on a real cluster under `--wait`: install, no-op upgrade, another DSN, a role of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from trial_namespace import a_namespace

from seatrial.cluster.kind.release import Release, ReleaseFailed
from seatrial.cluster.kind.shared import SharedServices
from seatrial.render import default_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

WITHIN_S = 180


async def tables(shared: SharedServices, database: str) -> int:
    async with await psycopg.AsyncConnection.connect(shared.server.dsn(database)) as connection:
        found = await connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        row = await found.fetchone()
        return int(row[0]) if row else 0


async def hook_pods(shared: SharedServices, namespace: str) -> set[str]:
    pods = await shared.kube.list("Pod", namespace, labels="app.kubernetes.io/component=migrate")
    return {pod["metadata"]["uid"] for pod in pods}


async def test_install_no_op_upgrade_and_another_database(shared: SharedServices) -> None:
    async with a_namespace(shared) as (namespace, values), a_namespace(shared) as (other, _):
        # Kept until the next one, for the pods to be told apart; the chart's own policy removes what succeeded.
        kept = {"helm.sh/hook-delete-policy": "before-hook-creation"}
        values |= {"migrations": {"enabled": True, "annotations": kept}}
        release = Release(shared.access, namespace, default_chart())
        await release.install(values, within_s=WITHIN_S)
        assert await tables(shared, namespace.replace("-", "_"))

        for revision in (2, 3):
            before = await hook_pods(shared, namespace)
            await release.upgrade(values, within_s=WITHIN_S)
            assert (await release.revision()).number == revision
            assert await hook_pods(shared, namespace) - before, "the hook did not run anew"

        # The hook sees the DSN of this very upgrade, not the one the chart's Secret held until now.
        moved = {
            "migrations": {"enabled": True, "onStartup": False},
            "postgresql": {"dsn": shared.server.engine_dsn(other.replace("-", "_"))},
        }
        await release.upgrade(moved, within_s=WITHIN_S)
        assert await tables(shared, other.replace("-", "_"))


async def test_a_hook_that_cannot_reach_the_database_fails_the_upgrade(shared: SharedServices) -> None:
    async with a_namespace(shared) as (namespace, values):
        values |= {"migrations": {"enabled": True, "activeDeadlineSeconds": 10}}
        release = Release(shared.access, namespace, default_chart())
        await release.install(values, within_s=WITHIN_S)
        pods = await engine_pods(shared, namespace)
        away = {**values, "postgresql": {"dsn": "postgresql://windlass:x@127.0.0.1:1/none"}}
        with pytest.raises(ReleaseFailed, match="pre-upgrade"):
            await release.upgrade(away, within_s=60)
        assert await engine_pods(shared, namespace) == pods
        await asyncio.wait_for(release.upgrade(values, within_s=WITHIN_S), WITHIN_S)


async def engine_pods(shared: SharedServices, namespace: str) -> set[Any]:
    pods = await shared.kube.list("Pod", namespace, labels="app.kubernetes.io/component=engine")
    return {pod["metadata"]["uid"] for pod in pods}


@asynccontextmanager
async def a_role_without_rights(shared: SharedServices) -> AsyncIterator[tuple[str, str]]:
    """Its name and password; it may connect, and in a new database create nothing. Dropped with all it was given."""
    role, password = f"app_{secrets.token_hex(4)}", secrets.token_hex(8)
    async with await psycopg.AsyncConnection.connect(shared.server.dsn(), autocommit=True) as connection:
        name = sql.Identifier(role)
        await connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password))
        )
        try:
            yield role, password
        finally:
            await connection.execute(sql.SQL("DROP ROLE {}").format(name))


async def test_the_job_migrates_and_the_engines_run_with_fewer_rights(shared: SharedServices) -> None:
    async with a_role_without_rights(shared) as (role, password), a_namespace(shared) as (namespace, _):
        database = namespace.replace("-", "_")
        owner = urlsplit(shared.server.engine_dsn(database))
        dsn = owner._replace(netloc=f"{role}:{password}@{owner.hostname}:{owner.port}").geturl()
        await shared.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "app", "namespace": namespace},
                "stringData": {"dsn": dsn},
            }
        )
        # Kept, for the pods to be told apart.
        kept = {"helm.sh/hook-delete-policy": "before-hook-creation"}
        values = {
            "postgresql": {"existingSecret": "app"},
            "migrations": {
                "enabled": True, "existingSecret": "database", "appRole": role, "annotations": kept,
            },
        }  # fmt: skip
        release = Release(shared.access, namespace, default_chart())
        await release.install(values, within_s=WITHIN_S)
        assert "completed" in await release.test(within_s=WITHIN_S)
        assert await roles(shared, database) == {role}
        (rights,) = await asked(
            shared, database, f"SELECT has_schema_privilege('{role}', 'public', 'CREATE') AS may_create"
        )
        assert rights == {"may_create": False}
        owners = await asked(
            shared, database, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        )
        assert owners == [{"tableowner": owner.username}]

        hooks, pods = await hook_pods(shared, namespace), await engine_pods(shared, namespace)
        await release.upgrade(values, within_s=WITHIN_S)
        assert await hook_pods(shared, namespace) - hooks, "the hook did not run anew"
        assert await engine_pods(shared, namespace) == pods


async def roles(shared: SharedServices, database: str) -> set[str]:
    """Of the engines' sessions."""
    query = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'windlass/%'"
    found = await asked(shared, database, f"{query} AND datname = '{database}'")
    return {row["usename"] for row in found}


async def asked(shared: SharedServices, database: str, query: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(
        shared.server.dsn(database), row_factory=dict_row
    ) as connection:
        return await (await connection.execute(query.encode())).fetchall()

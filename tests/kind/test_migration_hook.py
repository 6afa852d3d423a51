"""The migration's hook on a real cluster under `--wait`: install, no-op upgrade, another DSN."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
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

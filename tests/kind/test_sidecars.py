"""A database that only a proxy beside the container reaches, as Cloud SQL's: pods and Jobs have it, and Jobs end."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from test_migration_hook import WITHIN_S, tables
from trial_namespace import a_namespace

from seatrial.cluster.kind.release import Release
from seatrial.cluster.kind.shared import SharedServices
from seatrial.render import default_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PROXY = """
import asyncio, os, signal, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def forward(reader, writer):
    there, to_there = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(copy(reader, to_there), copy(there, writer), return_exceptions=True)

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    async with await asyncio.start_server(forward, "127.0.0.1", 5432) as server:
        await server.serve_forever()

asyncio.run(main())
"""
IS_UP = "import socket; socket.create_connection(('127.0.0.1', 5432)).close()"


def proxy(image: str, host: str, port: int) -> dict[str, Any]:
    """A native sidecar: what comes after it starts once its probe has passed."""
    return {
        "name": "proxy",
        "image": image,
        "restartPolicy": "Always",
        "command": ["python3", "-c", PROXY, host, str(port)],
        "startupProbe": {"exec": {"command": ["python3", "-c", IS_UP]}, "periodSeconds": 1},
    }


async def test_pods_and_jobs_reach_the_database_through_their_sidecars(
    shared: SharedServices, image: str
) -> None:
    async with a_namespace(shared) as (namespace, _):
        database = namespace.replace("-", "_")
        real = urlsplit(shared.server.engine_dsn(database))
        assert real.hostname
        here = real._replace(netloc=f"{real.username}:{real.password}@127.0.0.1:5432").geturl()
        await shared.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "proxied", "namespace": namespace},
                "stringData": {"dsn": here},
            }
        )
        sidecars = [proxy(image, real.hostname, real.port or 5432)]
        # Kept, for its pod to be looked at.
        kept = {"helm.sh/hook-delete-policy": "before-hook-creation"}
        values = {
            "postgresql": {"existingSecret": "proxied"},
            "migrations": {"enabled": True, "onStartup": False, "annotations": kept},
            "extraInitContainers": sidecars,
            "jobs": {
                "extraInitContainers": sidecars,
                "serviceAccount": {"create": True},
                "podLabels": {"example.com/identity": "true"},
            },
        }
        release = Release(shared.access, namespace, default_chart())
        await release.install(values, within_s=WITHIN_S)
        assert await tables(shared, database)
        pods = await shared.kube.list("Pod", namespace, labels="example.com/identity=true")
        (migrated,) = [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]
        assert migrated["spec"]["serviceAccountName"] == "windlass-migrate"
        (beside,) = migrated["status"]["initContainerStatuses"]
        assert "terminated" in beside["state"], "it ended with its Job"
        assert "completed" in await release.test(within_s=WITHIN_S)
        await release.upgrade(values, within_s=WITHIN_S)
        assert (await release.revision()).status == "deployed"

"""The chart's autoscaler on a cluster that measures: load brings pods, and an upgrade does not take them away again.
Switched on in three steps, as the chart's README says, it costs a running release no pod.

Helm 4 took `spec.replicas` for its own beside an autoscaler (nginx/nginx-gateway-fabric#4858).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from trial_namespace import a_namespace

from patience import eventually
from seatrial.cluster import ClusterError
from seatrial.cluster.kind.nodes import CLUSTER_NAME
from seatrial.cluster.kind.release import RELEASE, Release, serving
from seatrial.cluster.kind.shared import SharedServices
from seatrial.render import default_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

WITHIN_S = 180
MEASURED_WITHIN_S = 180.0
SCALED_WITHIN_S = 240.0
CALLERS = 8
VALUES: dict[str, Any] = {
    "service": {"type": "NodePort"},
    "resources": {"requests": {"cpu": "50m"}},
    "autoscaling": {
        "enabled": True, "minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 100,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def metrics_server(shared: SharedServices) -> Iterator[None]:
    """From the manifest in SEATRIAL_METRICS_SERVER, whose image the nodes have or pull; `shared` is the cluster."""
    assert shared.access
    manifest = os.environ.get("SEATRIAL_METRICS_SERVER")
    if not manifest:
        pytest.skip("SEATRIAL_METRICS_SERVER names no manifest of metrics-server")
    kubectl = ["docker", "exec", "--interactive", f"{CLUSTER_NAME}-control-plane", "kubectl",
               "--kubeconfig", "/etc/kubernetes/admin.conf"]  # fmt: skip
    text = Path(manifest).read_bytes()
    subprocess.run([*kubectl, "apply", "-f", "-"], input=text, check=True, stdout=subprocess.DEVNULL)
    yield
    subprocess.run([*kubectl, "delete", "-f", "-"], input=text, check=True, stdout=subprocess.DEVNULL)


@asynccontextmanager
async def load(url: str) -> Any:
    """Reads again and again, until the block ends."""

    async def call(session: aiohttp.ClientSession) -> None:
        while True:
            async with session.get(url) as answer:
                assert answer.status == 200, await answer.text()

    # Connections that stay would all lead to the one pod that was there first.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(session)) for _ in range(CALLERS)]
        yield
        for task in tasks:
            task.cancel()


@pytest.mark.usefixtures("metrics_server")
async def test_load_brings_pods_and_an_upgrade_keeps_them(shared: SharedServices) -> None:
    async with a_namespace(shared) as (namespace, database):

        async def is_measured() -> bool:
            try:
                return bool(await shared.kube.list("PodMetrics", namespace, labels=serving(RELEASE)))
            except ClusterError:
                return False  # the API has not met metrics-server yet

        async def ready() -> int:
            deployment = await shared.kube.get("Deployment", RELEASE, namespace)
            return int(deployment["status"].get("readyReplicas") or 0)

        async def has_grown() -> bool:
            return await ready() >= 2

        release = Release(shared.access, namespace, default_chart())
        await release.install({**VALUES, **database}, within_s=WITHIN_S)
        await eventually(is_measured, MEASURED_WITHIN_S, every_s=0.5)
        assert await ready() == 1, "it had grown before there was load"

        service = await shared.kube.get("Service", RELEASE, namespace)
        port = next(each["nodePort"] for each in service["spec"]["ports"] if each["name"] == "rest")
        async with load(f"http://{shared.address}:{port}/v1/definitions"):
            await eventually(has_grown, SCALED_WITHIN_S, every_s=0.5)
        scaler = await shared.kube.get("HorizontalPodAutoscaler", RELEASE, namespace)
        assert scaler["status"]["desiredReplicas"] >= 2

        upgraded = {"podAnnotations": {"example.com/revision": "2"}}
        await release.upgrade({**VALUES, **database, **upgraded}, within_s=WITHIN_S)
        assert await ready() >= 2, "the upgrade took the autoscaler's pods away"


def switching_on() -> list[dict[str, Any]]:
    """The values of the upgrades in the README's section of that name."""
    page = (default_chart() / "README.md").read_text()
    section = page.split("\n### Switching it on\n")[1].split("\n## ", maxsplit=1)[0]
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]


async def test_it_is_switched_on_without_losing_a_pod(shared: SharedServices) -> None:
    """Nothing has to be measured: the autoscaler's bounds hold anyhow."""
    async with a_namespace(shared) as (namespace, database):

        async def ready(name: str = "") -> int:
            found = await shared.kube.list("Deployment", namespace)
            return sum(
                int(each["status"].get("readyReplicas") or 0)
                for each in found
                if name in {"", each["metadata"]["name"]}
            )

        async def all_there() -> bool:
            return await ready(RELEASE) >= 3

        fewest: list[int] = []

        async def watch() -> None:
            while True:
                fewest.append(await ready())
                await asyncio.sleep(0.1)

        values = {"resources": {"requests": {"cpu": "20m"}}, "replicaCount": 3, **database}
        release = Release(shared.access, namespace, default_chart())
        await release.install(values, within_s=WITHIN_S)
        watching = asyncio.create_task(watch())
        for step in switching_on():
            await release.upgrade(values | step, within_s=WITHIN_S)
            await eventually(all_there, SCALED_WITHIN_S, every_s=0.5)
        watching.cancel()
        assert min(fewest) >= 3, fewest
        assert await ready() == 3

"""The nodes of a kind cluster, as far as drills rely on them."""

from __future__ import annotations

import subprocess

import pytest

from seatrial.cluster.kind.nodes import CLUSTER_NAME
from seatrial.cluster.kind.shared import SharedServices

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def reached(node: str, address: str) -> bool:
    asked = ["docker", "exec", node, "ip", "route", "get", address]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def refused(node: str, address: str) -> bool:
    """At once, and by nobody who would answer."""
    asked = ["docker", "exec", node, "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/80"]
    ran = subprocess.run(asked, capture_output=True, check=False, text=True)
    return "Connection refused" in ran.stderr


async def test_the_address_of_a_service_that_is_not_there_is_refused(shared: SharedServices) -> None:
    """An API server kept a connection to such a one, and asked a proxy for metrics until it was restarted."""
    for node in await shared.kube.list("Node"):
        assert refused(node["metadata"]["name"], "10.96.255.254")


async def test_the_address_of_a_pod_that_has_gone_leads_nowhere(shared: SharedServices) -> None:
    """Where the nodes' default route ends somebody may answer calls to it: a proxy did, with 404, for a whole drill."""
    nodes = await shared.kube.list("Node")
    assert len(nodes) == 2
    for node in nodes:
        assert node["metadata"]["name"].startswith(CLUSTER_NAME)
        network = node["spec"]["podCIDR"]
        nobody, outside = network.replace(".0/24", ".254"), "192.0.2.1"
        assert not reached(node["metadata"]["name"], nobody), nobody
        assert reached(node["metadata"]["name"], outside)

"""The nodes of a kind cluster, as far as drills rely on them."""

from __future__ import annotations

import subprocess

import pytest

from seatrial.cluster.kind.ground import Ground
from seatrial.cluster.kind.nodes import CLUSTER_NAME

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def reached(node: str, address: str) -> bool:
    asked = ["docker", "exec", node, "ip", "route", "get", address]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


async def test_the_address_of_a_pod_that_has_gone_leads_nowhere(ground: Ground) -> None:
    """Where the nodes' default route ends somebody may answer calls to it: a proxy did, with 404, for a whole drill."""
    nodes = await ground.kube.list("Node")
    assert len(nodes) == 2
    for node in nodes:
        assert node["metadata"]["name"].startswith(CLUSTER_NAME)
        network = node["spec"]["podCIDR"]
        nobody, outside = network.replace(".0/24", ".254"), "192.0.2.1"
        assert not reached(node["metadata"]["name"], nobody), nobody
        assert reached(node["metadata"]["name"], outside)

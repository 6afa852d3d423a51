"""Nodes: where the release's pods are, and a node that they have to leave."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.cluster.ability import Drained, Nodes
from seatrial.cluster.kind.eviction import evict_all
from seatrial.cluster.kind.installation import READY_WITHIN_S, Installation


class KindNodes(Nodes):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._cordoned: set[str] = set()
        installation.heal_with(self._uncordon_all)

    def placement(self) -> Mapping[str, int]:
        pods = self._installation.slots.pods
        nodes = [pod.node for pod in pods if pod.is_ready and pod.node not in self._cordoned]
        return {node: nodes.count(node) for node in nodes}

    async def drain(self, node: str) -> Drained:
        installation, kube = self._installation, self._installation.shared.kube
        self._cordoned.add(node)
        await kube.patch("Node", node, {"spec": {"unschedulable": True}})
        with installation.watching_readiness() as ready_min:
            gone, refused = await evict_all(
                kube,
                installation.namespace,
                node,
                lambda: [pod for pod in installation.slots.pods if pod.node == node],
            )
            await installation.until(
                lambda: installation.ready_count() >= installation.spec.replicas,
                READY_WITHIN_S,
                "every evicted pod has been replaced",
            )
            return Drained(gone, refused, ready_min())

    async def uncordon(self, node: str) -> None:
        await self._installation.shared.kube.patch("Node", node, {"spec": {"unschedulable": None}})
        self._cordoned.discard(node)

    async def _uncordon_all(self) -> None:
        for node in list(self._cordoned):
            await self.uncordon(node)

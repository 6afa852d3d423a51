"""Evicts pods from a node as `kubectl drain` does, and repeats that while a disruption budget refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seatrial.cluster import ClusterError
from seatrial.cluster.kind.kube import Conflict, Kube, NotThere
from seatrial.cluster.kind.replica_slots import Pod
from seatrial.deadline import Deadline

DRAIN_WITHIN_S = 180.0
_INTERVAL_S = 0.5


async def evict_all(
    kube: Kube, namespace: str, node: str, here: Callable[[], Sequence[Pod]]
) -> tuple[int, int]:
    """Returns when `here` is empty: how many pods went, and how often one was refused."""
    gone: set[str] = set()
    refused = 0
    async for _ in Deadline(DRAIN_WITHIN_S).attempts(_INTERVAL_S):
        if not (pods := here()):
            return len(gone), refused
        for pod in pods:
            if pod.uid not in gone:
                try:
                    await kube.evict(pod.name, namespace)
                    gone.add(pod.uid)
                except NotThere:
                    gone.add(pod.uid)
                except Conflict:
                    refused += 1
    names = ", ".join(pod.name for pod in here())
    raise ClusterError(f"{node} is not drained after {DRAIN_WITHIN_S:g} s: {names} are still there")

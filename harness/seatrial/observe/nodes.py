"""Every node of a cluster, whether clients can reach it or not."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster import Cluster, Replica
from seatrial.cluster.ability import Schedulers


def nodes(cluster: Cluster) -> Sequence[Replica]:
    """The replicas, then the schedulers, which have no address but that of their metrics."""
    if not cluster.has(Schedulers):
        return cluster.replicas()
    schedulers = cluster.ability(Schedulers)
    return [
        *cluster.replicas(),
        *(Replica(name, "", schedulers.metrics_url(name)) for name in schedulers.names()),
    ]

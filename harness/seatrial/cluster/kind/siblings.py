"""Siblings and Commands: other releases on the same server, and the chart's program with other arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from seatrial.cluster import Cluster, ClusterSpec
from seatrial.cluster.ability import Commands, Siblings
from seatrial.cluster.kind.installation import Installation
from seatrial.cluster.kind.replica_slots import CONTAINER


class KindSiblings(Siblings):
    """`make` builds a cluster with the same server, broker and chart."""

    def __init__(self, spec: ClusterSpec, make: Callable[[ClusterSpec], Cluster]) -> None:
        self._spec = spec
        self._make = make

    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> Cluster:
        return self._make(dataclasses.replace(self._spec, folder=folder, replicas=replicas, values=values))


class KindCommands(Commands):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def run_command(self, replica: str, *words: str) -> None:
        kube, namespace = self._installation.shared.kube, self._installation.namespace
        pod = self._installation.pod(replica)
        found = await kube.get("Pod", pod.name, namespace)
        containers = found["spec"]["containers"]
        program = next(each for each in containers if each["name"] == CONTAINER)["command"][0]
        await kube.execute(namespace, pod.name, CONTAINER, [program, *words])

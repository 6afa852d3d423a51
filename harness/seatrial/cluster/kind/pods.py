"""Logs, Aliases, Sockets: what a pod logs, the name its engine uses for itself, and its connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Aliases, Logs, Sockets
from seatrial.cluster.kind.installation import Installation
from seatrial.cluster.kind.network import sockets
from seatrial.cluster.socket_table import opened


class KindLogs(Logs):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def log_path(self, replica: str) -> Path:
        return self._installation.slots.log_path(replica)

    def run_began_at(self, replica: str) -> int:
        began_at = self._installation.slots.run_began_at(replica)
        if began_at is None:
            raise ClusterError(f"no line of {replica}'s present run was read yet")
        return began_at


class KindAliases(Aliases):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def aliases(self) -> Mapping[str, str]:
        """An engine knows the name of its pod, not that of its replica."""
        return self._installation.slots.places


class KindSockets(Sockets):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def peers(self, replica: str) -> Sequence[str]:
        pod, shared = self._installation.pod(replica), self._installation.shared
        found = opened(await sockets(shared.agent, pod.node, pod.container_id))
        return [peer for peer in found if peer != shared.server.inside]

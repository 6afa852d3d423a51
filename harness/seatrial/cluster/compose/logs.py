"""Logs and Aliases: what each replica's container wrote, and the name that its engine has for itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seatrial.cluster.ability import Aliases, Logs
from seatrial.cluster.compose.deployment import SERVICE, Deployment


class ComposeLogs(Logs):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def log_path(self, replica: str) -> Path:
        """Of the `service`, that of all its servers."""
        if self._deployment.behind_balancer and replica == SERVICE:
            return self._deployment.service_log()
        return self._deployment.follower(replica).path

    def run_began_at(self, replica: str) -> int:
        return self._deployment.follower(replica).run_began_at


class ComposeAliases(Aliases):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def aliases(self) -> Mapping[str, str]:
        return self._deployment.aliases

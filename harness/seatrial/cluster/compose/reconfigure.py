"""Reconfigure, RollingReconfigure: containers that are made anew with other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import Reconfigure, RollingReconfigure
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.engine_settings import EngineSettings
from seatrial.cluster.compose.project import Project
from seatrial.cluster.values import merge

Settle = Callable[[Mapping[str, Any]], EngineSettings]
"""From chart values to what is set."""


class ComposeReconfigure(Reconfigure, RollingReconfigure):
    def __init__(self, spec: ClusterSpec, deployment: Deployment, project: Project, settle: Settle) -> None:
        self._spec = spec
        self._deployment = deployment
        self._project = project
        self._settle = settle

    async def reconfigure(
        self, replica: str, values: Mapping[str, object], *, wait_ready: bool = True
    ) -> None:
        await self._replace(self._deployment.service(replica), values)
        if wait_ready:
            await self._deployment.until_ready(replica)

    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        """Also what serves no calls, such as a scheduler, after the replicas."""
        for replica in self._deployment.nodes:
            await self.reconfigure(replica, values)
        servers = set(map(self._deployment.service, self._deployment.nodes))
        for service in self._project.engine_services:
            if service not in servers:
                await self._replace(service, values)

    async def _replace(self, service: str, values: Mapping[str, object]) -> None:
        self._project.change([service], self._settle(merge(self._spec.values, values)))
        await self._project.up(service, alone=True)

"""Reconfigure, RollingReconfigure, NextRelease: containers that are made anew with other settings, or another image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import NextRelease, Reconfigure, RollingReconfigure
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.engine_settings import EngineSettings
from seatrial.cluster.compose.project import Project
from seatrial.cluster.values import merge

Settle = Callable[[Mapping[str, Any]], EngineSettings]
"""From chart values to what is set."""
_NEXT_SUFFIX = "-next"


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
        settings = self._settle(merge(self._spec.values, values))
        if settings.image is not None:
            await self._project.migrate(settings)
        self._project.change([service], settings)
        await self._project.up(service, alone=True)


class ComposeNextRelease(NextRelease):
    """The image beside the one under test that `scripts/image --drills` builds."""

    def __init__(self, image: Callable[[], str]) -> None:
        self._image = image

    def values(self) -> Mapping[str, Any]:
        """A boot with them migrates itself."""
        repository, _, tag = self._image().rpartition(":")
        return {"image": {"repository": repository, "tag": tag + _NEXT_SUFFIX}}

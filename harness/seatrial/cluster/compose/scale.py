"""Scale: how many of the file's servers run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Scale, Scaled
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.docker import containers
from seatrial.cluster.compose.processes import STOP_WITHIN_S
from seatrial.cluster.compose.project import SERVERS, Project
from seatrial.cluster.compose.reconfigure import Settle


class ComposeScale(Scale):
    def __init__(
        self, values: Mapping[str, Any], deployment: Deployment, project: Project, settle: Settle
    ) -> None:
        self._values = values
        self._deployment = deployment
        self._project = project
        self._settle = settle

    async def scale(self, replicas: int) -> Scaled:
        """At most as many as the file has servers."""
        if not 1 <= replicas <= len(SERVERS):
            raise ClusterError(
                f"a compose project scales from 1 to {len(SERVERS)} servers, not to {replicas}"
            )
        before = await self._running()
        for service in SERVERS[:replicas]:
            if service not in before:
                self._project.change([service], self._settle(self._values))
                await self._project.up(service, alone=True)
                await self._deployment.until_serves(service)
        for service in SERVERS[replicas:]:
            if service in before:
                await self._deployment.docker.run("stop", before[service], within_s=STOP_WITHIN_S)
        return Scaled(tuple(before.values()), tuple((await self._running()).values()))

    async def _running(self) -> dict[str, str]:
        """The containers' ids by their services."""
        found = await containers(self._deployment.docker, self._deployment.project)
        return {each.service: each.id for each in found if each.service in SERVERS and each.is_running}

"""Upgrade and RollingReconfigure: the release changed by Helm, one pod replaced after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import UPGRADE_WITHIN_S, Build, Kill, RollingReconfigure, Rollout, Upgrade
from seatrial.cluster.kind.installation import READY_WITHIN_S, Installation
from seatrial.cluster.kind.release import ReleaseFailed, engine_image

INSTALL_WITHIN_S = 180


class KindUpgrade(Upgrade):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def upgrade(
        self, build: Build, values: Mapping[str, object] | None = None, *, within_s: int = UPGRADE_WITHIN_S
    ) -> Rollout:
        """Raises ClusterError when the build's image is nowhere."""
        installation = self._installation
        installation.add_values(dict(values or {}))
        asked = installation.values(build)
        await installation.shared.load([engine_image(installation.chart, asked)])
        return await self._roll(lambda: installation.release.upgrade(asked, within_s=within_s))

    async def rollback(self) -> Rollout:
        release = self._installation.release
        return await self._roll(lambda: release.rollback(within_s=INSTALL_WITHIN_S))

    async def _roll(self, change: Callable[[], Awaitable[None]]) -> Rollout:
        installation = self._installation
        before = installation.staying()
        message = ""
        with installation.watching_readiness() as ready_min:
            try:
                await change()
            except ReleaseFailed as err:
                message = str(err)
            revision = await installation.release.revision()
            await installation.slots.change()
            after = [pod for pod in installation.slots.pods if not pod.is_leaving]
            return Rollout(
                revision=revision.number,
                status=revision.status,
                pods_before=before,
                pods_after=tuple(sorted(pod.uid for pod in after)),
                image_after=", ".join(sorted({pod.image for pod in after})),
                ready_min=ready_min(),
                message=message,
            )


class KindReconfigure(RollingReconfigure):
    """By an upgrade to the same build with other values."""

    def __init__(self, installation: Installation, upgrade: Upgrade, processes: Kill) -> None:
        self._installation = installation
        self._upgrade = upgrade
        self._processes = processes

    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        rollout = await self._upgrade.upgrade("this", values)
        if rollout.message:
            raise ClusterError(rollout.message)
        installation = self._installation
        await installation.until(
            lambda: all(
                installation.slots.run_began_at(each.name) is not None for each in installation.replicas
            ),
            READY_WITHIN_S,
            "every new pod has its place",
        )
        await asyncio.gather(*(self._processes.start(each.name) for each in installation.replicas))

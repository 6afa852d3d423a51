"""Scale: the Deployment's number of replicas."""

from __future__ import annotations

from seatrial.cluster.ability import Scaled, ScaleOut
from seatrial.cluster.kind.installation import Installation
from seatrial.cluster.kind.release import RELEASE

SCALE_WITHIN_S = 120.0


class KindScale(ScaleOut):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def scale(self, replicas: int) -> Scaled:
        installation = self._installation
        before = installation.staying()
        change = {"spec": {"replicas": replicas}}
        await installation.shared.kube.patch("Deployment", RELEASE, change, installation.namespace)
        await installation.until(
            lambda: len(installation.staying()) == installation.ready_count() == replicas,
            SCALE_WITHIN_S,
            f"{replicas} pods take calls",
        )
        return Scaled(before, installation.staying())

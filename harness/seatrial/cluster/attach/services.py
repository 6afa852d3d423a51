"""What attached clusters of a run share: nothing, since they are all the same one."""

from __future__ import annotations

from seatrial.cluster import ClusterSpec
from seatrial.cluster.attach.cluster import AttachedCluster
from seatrial.cluster.backend import Services
from seatrial.options import Options


class AttachServices(Services):
    def __init__(self, options: Options) -> None:
        self._options = options

    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: bool) -> AttachedCluster:  # noqa: ARG002  it is taken as it is
        return AttachedCluster(self._options.attach, self._options.attach_grpc, folder=spec.folder)

    async def check(self) -> None:
        """Every endpoint answers."""
        await AttachedCluster(self._options.attach, self._options.attach_grpc).up()

    async def close(self) -> None:
        """Nothing was made."""

"""What attached clusters of a run share: nothing, since they are all the same one."""

from __future__ import annotations

from seatrial.cluster import ClusterSpec
from seatrial.cluster.attach.cluster import AttachedCluster
from seatrial.cluster.backend import Services
from seatrial.cluster.broker import BrokerKind
from seatrial.cluster.options import Options


class AttachServices(Services):
    def __init__(self, options: Options) -> None:
        self._options = options

    async def cluster(
        self,
        spec: ClusterSpec,
        *,
        restart: bool,  # noqa: ARG002  taken as it is
        broker: BrokerKind | None,  # noqa: ARG002  taken as it is
    ) -> AttachedCluster:
        return AttachedCluster(
            self._options.attach,
            self._options.attach_grpc,
            folder=spec.folder,
            token=spec.token,
            ca_file=self._options.ca_file,
        )

    async def check(self) -> None:
        """Every endpoint answers."""
        options = self._options
        await AttachedCluster(options.attach, options.attach_grpc, ca_file=options.ca_file).up()

    async def close(self) -> None:
        """Nothing was made."""

"""What the clusters of a run on Kubernetes share, brought up when the first of them is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster import ClusterSpec
from seatrial.cluster.backend import Services
from seatrial.cluster.broker import BrokerKind
from seatrial.cluster.kind.cluster import KindCluster
from seatrial.cluster.kind.nodes import Images
from seatrial.cluster.kind.release import engine_image
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.options import Options
from seatrial.render import default_chart


class KindServices(Services):
    def __init__(self, options: Options, values: Mapping[str, Any]) -> None:
        self._options = options
        self._values = values
        self._shared: SharedServices | None = None

    async def check(self) -> None:
        """Such a failure shows only when the first cluster is made."""

    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: BrokerKind | None) -> KindCluster:  # noqa: ARG002  a kubelet always restarts
        if self._shared is None:
            images = Images.from_env(node=self._options.node_image)
            shared = SharedServices(images=images, context=self._options.context)
            await shared.up(engine_image(self._options.chart or default_chart(), self._values))
            self._shared = shared
        pod = await self._shared.emptied_broker(broker) if broker is not None else None
        return KindCluster(spec, self._shared, broker=pod, chart=self._options.chart)

    async def close(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.down()

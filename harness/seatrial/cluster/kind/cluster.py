"""The life cycle of a cluster on Kubernetes, and the abilities that it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seatrial.cluster import Cluster, ClusterError, ClusterSpec, Replica
from seatrial.cluster.ability import (
    Aliases,
    Boots,
    Commands,
    Credentials,
    Database,
    Kill,
    Logs,
    Nodes,
    Pause,
    Restarts,
    RollingReconfigure,
    Scale,
    ScaleOut,
    Siblings,
    Sockets,
    Upgrade,
)
from seatrial.cluster.broker import Broker, BrokerInCluster, BrokerNetwork
from seatrial.cluster.kind.backend import KIND
from seatrial.cluster.kind.boots import KindBoots
from seatrial.cluster.kind.credentials import KindCredentials
from seatrial.cluster.kind.database import KindDatabase
from seatrial.cluster.kind.drain import KindNodes
from seatrial.cluster.kind.installation import READY_WITHIN_S, Installation
from seatrial.cluster.kind.pods import KindAliases, KindLogs, KindSockets
from seatrial.cluster.kind.processes import KindKill, KindPause, KindRestarts
from seatrial.cluster.kind.reachability import until_answers
from seatrial.cluster.kind.release import ReleaseFailed
from seatrial.cluster.kind.scale import KindScale
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.kind.siblings import KindCommands, KindSiblings
from seatrial.cluster.kind.upgrade import INSTALL_WITHIN_S, KindReconfigure, KindUpgrade


class KindCluster(Cluster):
    """A release of the chart in a namespace and with a database of its own."""

    def __init__(
        self,
        spec: ClusterSpec,
        shared: SharedServices,
        *,
        broker: BrokerInCluster | None = None,
        chart: Path | None = None,
    ) -> None:
        super().__init__(spec, KIND.words)
        if spec.replicas < 1:
            raise ClusterError(f"replicas must be at least 1, got {spec.replicas}")
        if spec.engine_command is not None:
            raise ClusterError(
                "an engine command runs processes of this machine; on Kubernetes name an image in a values file"
            )
        self._installation = Installation(spec, shared, broker=broker, chart=chart)
        self._is_up = False
        another = partial(KindCluster, shared=shared, broker=broker, chart=chart)
        self._offer(Siblings, KindSiblings(spec, another))
        self._offer_the_rest(self._installation)
        if broker is not None:
            self._offer(Broker, broker)
            self._offer(BrokerNetwork, broker)

    async def up(self) -> None:
        if self._is_up:
            raise ClusterError("the cluster is already up; take it down first")
        self._is_up = True
        installation = self._installation
        try:
            await installation.prepare()
            await installation.release.install(installation.values("this"), within_s=INSTALL_WITHIN_S)
            if installation.by_service:
                await installation.open_service()
            await asyncio.gather(*(until_answers(each, READY_WITHIN_S) for each in installation.replicas))
        except ReleaseFailed as err:
            cause = await installation.why_not_up()
            await self.down()
            raise ClusterError(f"{err}; {cause}") from None
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        await self._installation.remove()
        self._is_up = False

    def replicas(self) -> Sequence[Replica]:
        return list(self._installation.replicas)

    def _offer_the_rest(self, installation: Installation) -> None:
        processes, upgrade = KindKill(installation), KindUpgrade(installation)
        self._offer(Kill, processes)
        self._offer(Pause, KindPause(installation))
        self._offer(Restarts, KindRestarts(installation))
        self._offer(Database, KindDatabase(installation))
        self._offer(Logs, KindLogs(installation))
        self._offer(Aliases, KindAliases(installation))
        self._offer(Sockets, KindSockets(installation))
        self._offer(Boots, KindBoots(installation))
        self._offer(Commands, KindCommands(installation))
        self._offer(Upgrade, upgrade)
        self._offer(RollingReconfigure, KindReconfigure(installation, upgrade, processes))
        scale = KindScale(installation)
        self._offer(Scale, scale)
        self._offer(ScaleOut, scale)
        self._offer(Credentials, KindCredentials(installation))
        self._offer(Nodes, KindNodes(installation))

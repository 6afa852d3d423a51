"""The life cycle of a local cluster, and the abilities that it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seatrial.cluster import Cluster, ClusterError, ClusterSpec, Replica
from seatrial.cluster.ability import (
    Boots,
    Certificates,
    Commands,
    Database,
    Disk,
    Exits,
    Failover,
    Kill,
    LogReader,
    Logs,
    ManagedFailover,
    NextRelease,
    Partition,
    Pause,
    Pooler,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Schedulers,
    Service,
    Siblings,
    Sockets,
    WakeBus,
)
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess
from seatrial.cluster.local.backend import LOCAL
from seatrial.cluster.local.boots import LocalBoots
from seatrial.cluster.local.certificates import LocalCertificates
from seatrial.cluster.local.database import LocalDatabase
from seatrial.cluster.local.disk import LocalDisk
from seatrial.cluster.local.failover import LocalFailover
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.launch import Launcher
from seatrial.cluster.local.log_reader import LocalLogReader
from seatrial.cluster.local.logs import LocalLogs
from seatrial.cluster.local.managed import LocalManagedFailover
from seatrial.cluster.local.network import LocalPartition, LocalSockets
from seatrial.cluster.local.pooler import LocalPooler
from seatrial.cluster.local.processes import LocalExits, LocalKill, LocalPause, LocalRestarts
from seatrial.cluster.local.reconfigure import LocalReconfigure
from seatrial.cluster.local.release import LocalNextRelease
from seatrial.cluster.local.replicas import LocalReplica, Replicas
from seatrial.cluster.local.resources import LocalResources
from seatrial.cluster.local.schedulers import LocalSchedulers
from seatrial.cluster.local.service import LocalService
from seatrial.cluster.local.siblings import LocalCommands, LocalSiblings
from seatrial.cluster.local.wake_bus import LocalWakeBus
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.resources import Resources
from seatrial.cluster.values import schedulers_of

#: at the end of a drill nobody waits for a graceful stop any longer than this
DOWN_GRACE_S = 2.0


class LocalCluster(Cluster):
    """With a shared `postgres` it makes and drops one database there; without one it starts a server of its own.

    `own_broker` is one that drills may break, `broker` one that is not the run's own; there is at most one of them.
    With `restart` each replica has a kubelet that starts it again when it ends and kills it when its liveness
    probe fails; a replica that was stopped stays down until it is started.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        *,
        postgres: PostgresServer | None = None,
        broker: Broker | None = None,
        own_broker: BrokerProcess | None = None,
        chart: Path | None = None,
        restart: bool = False,
    ) -> None:
        super().__init__(spec, LOCAL.words)
        if spec.replicas < 1:
            raise ClusterError(f"replicas must be at least 1, got {spec.replicas}")
        self._foundation = Foundation(spec.folder, postgres)
        self._replicas = Replicas()
        self._launcher = Launcher(spec, self._foundation, broker=own_broker or broker, chart=chart)
        self._processes = LocalKill(
            self._replicas,
            self._foundation,
            restart=restart,
            without_secret=self._launcher.without_secret,
        )
        another = partial(
            LocalCluster,
            postgres=self._foundation.postgres,
            broker=broker,
            own_broker=own_broker,
            chart=chart,
            restart=restart,
        )
        self._offer(Siblings, LocalSiblings(spec, another))
        self._offer_the_rest()
        self._offer_broker(broker, own_broker)

    async def up(self) -> None:
        """Returns when every replica's readiness probe passes; on an error everything is taken down again."""
        if len(self._replicas):
            raise ClusterError("the cluster is already up; take it down first")
        try:
            await self._foundation.lay()
            names = [f"replica-{number}" for number in range(self.spec.replicas)]
            schedulers = [f"scheduler-{number}" for number in range(schedulers_of(self.spec.values))]
            for name in [*names, *schedulers]:
                replica = await self._launcher.new(name, self.spec.values, takes_calls=name in names)
                self._replicas.put(replica)
                self._foundation.before_removal(self._take_down, name)
            async with asyncio.TaskGroup() as starts:
                for replica in self._replicas:
                    starts.create_task(self._processes.start(replica.name))
        except BaseExceptionGroup as errors:
            await self.down()
            raise errors.exceptions[0] from None
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        await self._foundation.remove()
        self._replicas.clear()

    def replicas(self) -> Sequence[Replica]:
        return [replica.address for replica in self._replicas.that_take_calls()]

    def replica(self, name: str) -> LocalReplica:
        """What runs for it. Raises ClusterError."""
        return self._replicas.named(name)

    def _offer_the_rest(self) -> None:
        replicas, foundation, launcher = self._replicas, self._foundation, self._launcher
        reconfigure = LocalReconfigure(self.spec, replicas, launcher, self._processes)
        self._offer(Kill, self._processes)
        self._offer(Pause, LocalPause(replicas))
        self._offer(Exits, LocalExits(replicas))
        self._offer(Restarts, LocalRestarts(replicas))
        self._offer(Partition, LocalPartition(replicas))
        self._offer(Sockets, LocalSockets(replicas))
        self._offer(Database, LocalDatabase(foundation, replicas))
        self._offer(ManagedFailover, LocalManagedFailover(foundation))
        self._offer(Disk, LocalDisk(foundation))
        self._offer(Failover, LocalFailover(foundation, replicas))
        self._offer(Logs, LocalLogs(replicas))
        self._offer(LogReader, LocalLogReader(replicas, foundation, self._processes))
        self._offer(Resources, LocalResources(replicas))
        self._offer(NextRelease, LocalNextRelease(self.spec.folder))
        self._offer(Pooler, LocalPooler(foundation, replicas))
        self._offer(WakeBus, LocalWakeBus(foundation))
        self._offer(Service, LocalService(foundation, replicas, self.spec.token))
        self._offer(Reconfigure, reconfigure)
        self._offer(RollingReconfigure, reconfigure)
        self._offer(Boots, LocalBoots(self.spec, foundation, launcher))
        self._offer(Commands, LocalCommands(replicas, launcher))
        self._offer(Certificates, LocalCertificates(launcher.doors))
        self._offer(Schedulers, LocalSchedulers(replicas, self._processes))

    def _offer_broker(self, broker: Broker | None, own_broker: BrokerProcess | None) -> None:
        if own_broker is not None:
            self._offer(Broker, own_broker)
            self._offer(BrokerNetwork, own_broker)
            self._offer(BrokerProcess, own_broker)
        elif broker is not None:
            self._offer(Broker, broker)

    async def _take_down(self, name: str) -> None:
        replica = self._replicas.named(name)
        await replica.kubelet.unwatch()
        await replica.proxy.mend()
        if replica.process.paused:
            await replica.process.resume()
        if replica.process.running:
            await replica.process.stop(DOWN_GRACE_S)

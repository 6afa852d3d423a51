"""Fault of a pair of servers under a failover manager: the primary's machine is gone, and nobody of us helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import psycopg

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Database, ManagedFailover
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect

_CONNECT_TIMEOUT_S = 2


@dataclass(frozen=True)
class KillLeader(Bare):
    """SIGKILL to the leader's manager, its server and every process of both. Over when another server commits the
    first write of a client of the harness: from then on the engines have no excuse.
    """

    name: ClassVar[str] = "kill_leader"
    needs: ClassVar[tuple[type, ...]] = (Database, ManagedFailover)
    target: str = DATABASE
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        self._seen["killed"] = await cluster.ability(ManagedFailover).kill_leader()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        dsn = cluster.ability(Database).dsn()
        try:
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S):
                pass
        except psycopg.OperationalError as err:
            return {**self._seen, "connect": str(err).splitlines()[0]}
        raise FaultHadNoEffect(f"{self.name}: a primary still accepts connections")

    async def heal(self, cluster: Cluster) -> None:
        """The manager's own doing; only waited for."""
        leader = await cluster.ability(ManagedFailover).until_taken_over()
        if leader == self._seen.get("killed"):
            raise FaultHadNoEffect(f"{self.name}: {leader} leads again, and no other server took over")

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Whether the engines find the new primary, and how soon, is what the checks judge."""

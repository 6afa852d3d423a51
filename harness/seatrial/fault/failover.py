"""Faults that end with another server as the primary: the one before is lost, or handed over in good order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Database, Failover, Kill, Promotion
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import names

_CONNECT_TIMEOUT_S = 2

Survey = Callable[[Promotion], Awaitable[None]]
"""Called when the new primary takes writes, and before any engine can reach it by an address that moves."""


@dataclass(frozen=True)
class LosePrimary(Bare):
    """SIGKILL to every process of the primary. Healed by the promotion of its standby; the lost one does not come
    back.
    """

    name: ClassVar[str] = "lose_primary"
    needs: ClassVar[tuple[type, ...]] = (Database, Failover, Kill)
    survey: Survey
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGKILL"}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Database).crash()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"connect": await _refusal(cluster, self.name)}

    async def heal(self, cluster: Cluster) -> None:
        failover = cluster.ability(Failover)
        await self.survey(await failover.promote())
        await failover.move()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """RT and LV judge whether every replica finds the new primary."""


@dataclass(frozen=True)
class SwitchOver(Bare):
    """The primary is shut down, its standby promoted, and the old one comes back as a standby that lags, at its old
    address. There some replicas (`late`) still reach it, until the heal.
    """

    name: ClassVar[str] = "switch_over"
    needs: ClassVar[tuple[type, ...]] = (Database, Failover, Kill)
    late: tuple[str, ...]
    lag_s: float
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {"late": list(self.late), "lag_s": self.lag_s}

    async def inject(self, cluster: Cluster) -> None:
        failover = cluster.ability(Failover)
        await cluster.ability(Database).stop("fast")
        await failover.promote()
        await failover.move(*(name for name in names(cluster) if name not in self.late))
        await failover.rejoin(lag_s=self.lag_s)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        async with await psycopg.AsyncConnection.connect(
            cluster.ability(Database).dsn(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
        ) as connection:
            found = await connection.execute(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            )
            row = await found.fetchone()
        if not row or not row[0]:
            raise FaultHadNoEffect(f"{self.name}: no standby streams from the new primary")
        return {"standbys": row[0]}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Failover).move()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """RT and LV judge whether every replica finds the new primary."""


async def _refusal(cluster: Cluster, fault: str) -> str:
    """How the primary refuses a connection; raises FaultHadNoEffect when it does not."""
    dsn = cluster.ability(Database).dsn()
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S):
            pass
    except psycopg.OperationalError as err:
        return str(err).splitlines()[0]
    raise FaultHadNoEffect(f"{fault}: the database still accepts connections")

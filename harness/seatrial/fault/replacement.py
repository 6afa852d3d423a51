"""Nodes that are replaced by another release: one after the other, or all at once while nothing runs. They break
nothing, but are recorded as faults: with evidence that they happened, and as the time in which errors count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import psycopg

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Database, Kill, Reconfigure, Schedulers
from seatrial.fault import ALL_REPLICAS, Bare, Evidence
from seatrial.fault.liveness import all_ready, names, silence

_CONNECT_TIMEOUT_S = 5
_SCHEMA = "SELECT max(version) FROM windlass_migration"


@dataclass(frozen=True)
class ReplaceNode(Bare):
    """SIGTERM to a replica or scheduler, which comes back as another release; over when that is ready."""

    name: ClassVar[str] = "replace_node"
    needs: ClassVar[tuple[type, ...]] = (Database, Reconfigure)
    target: str
    release: str
    """For the record: `next`, or `this` on the way back."""
    values: Mapping[str, object]

    def parameters(self) -> Mapping[str, Any]:
        return {"release": self.release}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Reconfigure).reconfigure(self.target, self.values)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        return {"schema": await _schema(cluster)}

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """It was ready before."""


@dataclass(frozen=True)
class StopTheWorld(Bare):
    """SIGTERM to the schedulers, then to all replicas. Healed by starting the other release: first one node, which
    migrates, then the other replicas, and the schedulers last.
    """

    name: ClassVar[str] = "stop_the_world"
    needs: ClassVar[tuple[type, ...]] = (Database, Kill, Reconfigure, Schedulers)
    values: Mapping[str, object]
    target: str = field(default=ALL_REPLICAS, kw_only=True)
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {"release": "next"}

    async def inject(self, cluster: Cluster) -> None:
        replicas, schedulers = cluster.ability(Kill), cluster.ability(Schedulers)
        self._seen["schema_before"] = await _schema(cluster)
        self._seen["exit_codes"] = [await schedulers.stop(name) for name in schedulers.names()]
        self._seen["exit_codes"] += await asyncio.gather(*map(replicas.stop, names(cluster)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        quiet = {name: await silence(cluster, name, self.name) for name in names(cluster)}
        return {**self._seen, "silence": quiet}

    async def heal(self, cluster: Cluster) -> None:
        nodes = cluster.ability(Reconfigure)
        first, *others = names(cluster)
        await nodes.reconfigure(first, self.values)
        await asyncio.gather(*(nodes.reconfigure(name, self.values) for name in others))
        for name in cluster.ability(Schedulers).names():
            await nodes.reconfigure(name, self.values)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


async def _schema(cluster: Cluster) -> int:
    """The number of the newest migration."""
    async with await psycopg.AsyncConnection.connect(
        cluster.ability(Database).dsn(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
    ) as connection:
        row = await (await connection.execute(_SCHEMA)).fetchone()
    return int(row[0]) if row and row[0] is not None else 0

"""Faults of the broker: it crashes, or the network between it and the engines is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.broker import BrokerNetwork, BrokerProcess, CutMode
from seatrial.deadline import until
from seatrial.fault import BROKER, Bare, Evidence, FaultHadNoEffect

_LOOK_INTERVAL_S = 0.02
_SILENT_WITHIN_S = 2.0


@dataclass(frozen=True)
class CrashBroker(Bare):
    """SIGKILL; healed by starting it again, with all that it had."""

    name: ClassVar[str] = "crash_broker"
    needs: ClassVar[tuple[type, ...]] = (BrokerProcess,)
    target: str = BROKER

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGKILL"}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(BrokerProcess).crash()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        try:
            await cluster.ability(BrokerProcess).until_ready(_SILENT_WITHIN_S)
        except ClusterError as err:
            return {"answer": str(err)}
        raise FaultHadNoEffect(f"{self.name}: the broker still answers")

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(BrokerProcess).start()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Nothing to wait for: a node without its broker serves, and goes on to (see BO)."""


@dataclass(frozen=True)
class CutBroker(Bare):
    """Between all engines and the broker; has an effect when it has dropped bytes, or with `refuse` closed
    connections.
    """

    name: ClassVar[str] = "cut_broker"
    needs: ClassVar[tuple[type, ...]] = (BrokerNetwork,)
    mode: CutMode
    delay_s: float = 0.0
    target: str = BROKER
    effect_within_s: float = 15.0

    def parameters(self) -> Mapping[str, Any]:
        return {"mode": self.mode, "delay_s": self.delay_s}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(BrokerNetwork).cut(self.mode, delay_s=self.delay_s)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        broker = cluster.ability(BrokerNetwork)
        if self.mode == "refuse":
            if not (closed := broker.cut_connections()):
                raise FaultHadNoEffect(f"{self.name}: no engine had a connection that could be refused")
            return {"closed_connections": closed}
        dropped = await until(
            broker.dropped_bytes,
            within_s=self.effect_within_s,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: FaultHadNoEffect(
                f"{self.name}: no engine exchanged a byte with the broker in {self.effect_within_s:g} s"
            ),
        )
        return {"dropped_bytes": dropped}

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(BrokerNetwork).mend()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Nothing to wait for: a node without its broker serves, and goes on to (see BO)."""

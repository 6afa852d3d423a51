"""Replicas that go away: killed, stopped, restarted, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seatrial.cluster import Cluster, ClusterError, Kill
from seatrial.fault import ALL_REPLICAS, Bare, Evidence, Fault, FaultDidNotBite, lacking, not_healed
from seatrial.fault.liveness import silence, until_ready

_ANSWER_WITHIN_S = 1.0
_GONE_WITHIN_S = 5.0


@dataclass(frozen=True)
class KillReplica(Bare):
    """SIGKILL; healed by starting it again."""

    name: ClassVar[str] = "kill_replica"
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGKILL"}

    async def setup(self, cluster: Cluster) -> None:
        _can_kill(self, cluster)

    async def inject(self, cluster: Cluster) -> None:
        await _can_kill(self, cluster).kill(self.target)

    async def wait_until_it_bit(self, cluster: Cluster) -> Evidence:
        return {"silence": await _silence(self, cluster, self.target)}

    async def heal(self, cluster: Cluster) -> None:
        await _can_kill(self, cluster).start(self.target, wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await _all_ready(self, cluster, [self.target])


@dataclass(frozen=True)
class StopReplica(Bare):
    """SIGTERM, a graceful stop; healed by starting it again."""

    name: ClassVar[str] = "stop_replica"
    target: str
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGTERM"}

    async def setup(self, cluster: Cluster) -> None:
        _can_kill(self, cluster)

    async def inject(self, cluster: Cluster) -> None:
        self._seen["exit_code"] = await _can_kill(self, cluster).stop(self.target)

    async def wait_until_it_bit(self, cluster: Cluster) -> Evidence:
        return {**self._seen, "silence": await _silence(self, cluster, self.target)}

    async def heal(self, cluster: Cluster) -> None:
        await _can_kill(self, cluster).start(self.target, wait_ready=False)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await _all_ready(self, cluster, [self.target])


@dataclass(frozen=True)
class RestartReplica(Bare):
    """SIGTERM and a new start right after it, as in a rollout; the fault ends when the new one is ready."""

    name: ClassVar[str] = "restart_replica"
    target: str
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": "SIGTERM"}

    async def setup(self, cluster: Cluster) -> None:
        _can_kill(self, cluster)

    async def inject(self, cluster: Cluster) -> None:
        self._seen["exit_code"] = await _can_kill(self, cluster).stop(self.target)

    async def wait_until_it_bit(self, cluster: Cluster) -> Evidence:
        """It was gone: the cluster has its exit code, and nothing answers until `heal` starts the new one."""
        return {**self._seen, "silence": await _silence(self, cluster, self.target)}

    async def heal(self, cluster: Cluster) -> None:
        await _can_kill(self, cluster).start(self.target, wait_ready=True)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await _all_ready(self, cluster, [self.target])

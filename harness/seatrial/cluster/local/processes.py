"""Kill, Pause, Exits, Restarts: the replicas' processes, driven by signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Exits, Kill, Pause, Restarts
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.replicas import LocalReplica, Replicas
from seatrial.cluster.probe import failure
from seatrial.cluster.process import tail
from seatrial.deadline import Deadline

READY_WITHIN_S = 30.0
_READY_INTERVAL_S = 0.05


class LocalKill(Kill):
    """With `restart` each started replica is watched by its kubelet, until `stop`."""

    def __init__(
        self,
        replicas: Replicas,
        foundation: Foundation,
        *,
        restart: bool,
        without_secret: Callable[[str], str],
    ) -> None:
        self._replicas = replicas
        self._foundation = foundation
        self._restart = restart
        self._without_secret = without_secret

    async def kill(self, replica: str) -> None:
        await self._replicas.named(replica).process.kill()

    async def stop(self, replica: str) -> int:
        found = self._replicas.named(replica)
        await found.kubelet.unwatch()
        return await found.process.stop(found.container.termination_grace_s)

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        found = self._replicas.named(replica)
        if not found.process.running:
            found.process.start()
        if wait_ready:
            await self._until_ready(found)
        if self._restart:
            found.kubelet.watch()

    async def _until_ready(self, replica: LocalReplica) -> None:
        process, probe = replica.process, replica.container.probes.get("readiness")
        cause: str | None = "its readiness probe was never called"
        async for _ in Deadline(READY_WITHIN_S).attempts(_READY_INTERVAL_S):
            if not process.running:
                break
            cause = await failure(self._foundation.session, probe) if probe else None
            if cause is None:
                return
        state = (
            f"is not ready after {READY_WITHIN_S:g} s"
            if process.running
            else f"exited with {process.exit_code} before it was ready"
        )
        log = self._without_secret(tail(process.log_path))
        raise ClusterError(f"{replica.name} {state}: {cause}; the end of {process.log_path}:\n{log}")


class LocalPause(Pause):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def pause(self, replica: str) -> None:
        await self._replicas.named(replica).process.pause()

    async def resume(self, replica: str) -> None:
        await self._replicas.named(replica).process.resume()


class LocalExits(Exits):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def unasked_exits(self, replica: str) -> Sequence[int]:
        return self._replicas.named(replica).process.unasked_exits


class LocalRestarts(Restarts):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def restarts(self, replica: str) -> int:
        return self._replicas.named(replica).kubelet.restarts

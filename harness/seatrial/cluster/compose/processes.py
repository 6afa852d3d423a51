"""Kill, Pause, Restarts: containers ended, stopped, frozen and started again."""

from __future__ import annotations

from contextlib import suppress

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Kill, Pause, Restarts
from seatrial.cluster.compose.deployment import SERVICE, Deployment

STOP_WITHIN_S = 120.0


class ComposeKill(Kill):
    """With `restart` a replica crashes, and its restart policy starts it again; else it stays down until `start`."""

    def __init__(self, deployment: Deployment, *, restart: bool) -> None:
        self._deployment = deployment
        self._restart = restart
        self._down: set[str] = set()
        deployment.heal_with(self._start_all)

    async def kill(self, replica: str) -> None:
        if self._restart:
            await self._deployment.agent.kill((await self._deployment.container(replica)).pid)
        else:
            await self.keep_down(replica)

    async def keep_down(self, replica: str) -> None:
        """Killed, and not started by its restart policy."""
        found = await self._deployment.container(replica)
        self._down.add(replica)
        await self._deployment.docker.run("kill", found.id)

    async def stop(self, replica: str) -> int:
        found = await self._deployment.container(replica)
        self._down.add(replica)
        await self._deployment.docker.run("stop", found.id, within_s=STOP_WITHIN_S)
        return (await self._deployment.container(replica)).exit_code

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        """The `service` is waited for until all its servers are ready, and the balancer says so."""
        deployment = self._deployment
        names = (
            [*deployment.nodes, SERVICE] if deployment.behind_balancer and replica == SERVICE else [replica]
        )
        for name in names:
            if name != SERVICE and not (found := await deployment.container(name)).is_running:
                await deployment.docker.run("start", found.id)
                self._down.discard(name)
        if wait_ready:
            await deployment.until_ready(*names)

    async def _start_all(self) -> None:
        """A project that is not ours goes on without our faults."""
        for replica in list(self._down):
            with suppress(ClusterError):
                await self.start(replica, wait_ready=False)


class ComposePause(Pause):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._paused: set[str] = set()
        deployment.heal_with(self._resume_all)

    async def pause(self, replica: str) -> None:
        """Frozen as a whole by its cgroup, which no process of it notices."""
        found = await self._deployment.container(replica)
        self._paused.add(replica)
        await self._deployment.docker.run("pause", found.id)

    async def resume(self, replica: str) -> None:
        found = await self._deployment.container(replica)
        if found.is_paused:
            await self._deployment.docker.run("unpause", found.id)
        self._paused.discard(replica)

    async def _resume_all(self) -> None:
        for replica in list(self._paused):
            with suppress(ClusterError):
                await self.resume(replica)


class ComposeRestarts(Restarts):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def restarts(self, replica: str) -> int:
        return self._deployment.follower(replica).restarts

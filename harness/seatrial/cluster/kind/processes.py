"""Kill, Pause, Restarts: processes in pods, driven by signals that an agent on their node sends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Kill, Pause, Restarts
from seatrial.cluster.kind.installation import READY_WITHIN_S, Installation
from seatrial.cluster.kind.reachability import until_answers
from seatrial.cluster.kind.replica_slots import Pod
from seatrial.deadline import Deadline

SIGNAL_WITHIN_S = 20.0
_LOOK_INTERVAL_S = 0.05


class KindKill(Kill):
    """A replica that has ended is started again by its kubelet at once, so `start` only waits for it."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def kill(self, replica: str) -> None:
        """SIGKILL to its processes; returns when they are gone."""
        pod = self._installation.pod(replica)
        await self._installation.shared.agent.signal(pod.node, pod.container_id, "KILL")
        self._installation.ended.add(pod.container_id)

    async def stop(self, replica: str) -> int:
        """SIGTERM to its processes, not through the API: the kubelet starts a container that ends so again, too."""
        installation, pod = self._installation, self._installation.pod(replica)
        await installation.shared.agent.signal(pod.node, pod.container_id, "TERM")
        await installation.until(lambda: not self._holds(replica, pod), READY_WITHIN_S, f"{replica} stops")
        installation.ended.add(pod.container_id)
        after = installation.slots.pod(replica)
        return after.last_exit_code if after is not None and after.last_exit_code is not None else 0

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        installation = self._installation
        if not wait_ready:
            return
        if installation.by_service:
            await installation.until(
                lambda: installation.ready_count() >= installation.spec.replicas,
                READY_WITHIN_S,
                "all pods are ready",
            )
        else:
            await installation.until(lambda: self._is_ready(replica), READY_WITHIN_S, f"{replica} is ready")
        address = next(each for each in installation.replicas if each.name == replica)
        await until_answers(address, READY_WITHIN_S)

    def _is_ready(self, replica: str) -> bool:
        pod = self._installation.slots.pod(replica)
        return pod is not None and pod.is_ready and pod.container_id not in self._installation.ended

    def _holds(self, replica: str, before: Pod) -> bool:
        pod = self._installation.slots.pod(replica)
        return pod is not None and pod.container_id == before.container_id and pod.is_running


class KindPause(Pause):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._paused: set[str] = set()
        installation.heal_with(self._resume_all)

    async def pause(self, replica: str) -> None:
        pod = self._installation.pod(replica)
        self._paused.add(replica)
        await self._installation.shared.agent.signal(pod.node, pod.container_id, "STOP")
        await self._until_state(pod, lambda states: set(states) == {"T"}, f"{replica} is stopped")

    async def resume(self, replica: str) -> None:
        pod = self._installation.pod(replica)
        await self._installation.shared.agent.signal(pod.node, pod.container_id, "CONT")
        await self._until_state(pod, lambda states: "T" not in states, f"{replica} goes on")
        self._paused.discard(replica)

    async def _resume_all(self) -> None:
        for replica in list(self._paused):
            with suppress(ClusterError):
                await self.resume(replica)

    async def _until_state(self, pod: Pod, predicate: Callable[[str], bool], what: str) -> None:
        states = ""
        async for _ in Deadline(SIGNAL_WITHIN_S).attempts(_LOOK_INTERVAL_S):
            states = await self._installation.shared.agent.states(pod.node, pod.container_id)
            if predicate(states):
                return
        raise ClusterError(f"not within {SIGNAL_WITHIN_S:g} s: {what}; its processes are {states!r}")


class KindRestarts(Restarts):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def restarts(self, replica: str) -> int:
        slots = self._installation.slots
        if self._installation.by_service:
            return sum(pod.restarts for pod in slots.pods)
        return slots.restarts(replica)

"""Signals to the processes of a container, as its node sees them.

The API can delete a pod but not crash it, and process 1 of a container ignores signals from inside. So a privileged pod
on each node, which shares the node's process namespace, finds the container's processes by their cgroup and signals
them.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from seatrial.cluster import ClusterError
from seatrial.cluster.kind.kube import Kube, Object
from seatrial.deadline import Deadline

NAME = "node-agent"
READY_WITHIN_S = 120.0
_LOOK_INTERVAL_S = 0.2

Signal = Literal["KILL", "TERM", "STOP", "CONT"]

#: $0 is the signal, $1 the container's id; says how many processes were signalled, and after a KILL waits for their end
_SIGNAL_ALL = """
found=
for p in /proc/[0-9]*; do
  if grep -q "$1" $p/cgroup 2>/dev/null; then kill -s $0 ${p#/proc/} && found="$found $p"; fi
done
set -- $0 $found
echo $(($# - 1))
if [ $1 = KILL ]; then
  shift
  for p; do while [ -e $p ]; do sleep 0.02; done; done
fi
"""
_STATES = """
for p in /proc/[0-9]*; do
  if grep -q "$0" $p/cgroup 2>/dev/null; then sed -n 's/^State:[[:space:]]*\\(.\\).*/\\1/p' $p/status; fi
done
"""


class NodeAgent:
    """One DaemonSet in the run's own namespace, made at its first use. `image` is any with a shell."""

    def __init__(self, kube: Kube, namespace: str, image: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._image = image
        self._pods: dict[str, str] = {}
        self._making = asyncio.Lock()

    async def signal(self, node: str, container_id: str, signal: Signal) -> None:
        """Raises ClusterError when the container has no process there."""
        said = await self.run(node, _SIGNAL_ALL, signal, container_id)
        if said.strip() in {"", "0"}:
            raise ClusterError(f"container {container_id[:12]} has no process on {node} to send SIG{signal}")

    async def states(self, node: str, container_id: str) -> str:
        """The one-letter states of its processes (`T` is stopped), empty when it has none."""
        return "".join((await self.run(node, _STATES, container_id)).split())

    async def ready(self) -> None:
        """Returns when there is one on each node."""
        async with self._making:
            if self._pods:
                return
            await self._kube.apply(_daemon_set(self._namespace, self._image))
            nodes = {node["metadata"]["name"] for node in await self._kube.list("Node")}
            running: dict[str, str] = {}
            async for _ in Deadline(READY_WITHIN_S).attempts(_LOOK_INTERVAL_S):
                running = await self._running()
                if set(running) == nodes:
                    self._pods = running
                    return
            missing = ", ".join(sorted(nodes - set(running)))
            raise ClusterError(
                f"no agent runs on {missing} after {READY_WITHIN_S:g} s: the cluster must allow privileged "
                f"pods in {self._namespace}"
            )

    async def _running(self) -> dict[str, str]:
        """The agent's pod on each node that has one."""
        return {
            pod["spec"]["nodeName"]: pod["metadata"]["name"]
            for pod in await self._kube.list("Pod", self._namespace, labels=f"app={NAME}")
            if pod["status"].get("phase") == "Running"
        }

    async def run(self, node: str, script: str, *arguments: str) -> str:
        """What the shell script printed, with the node's ids of processes; $0 and so on are the arguments."""
        await self.ready()
        if node not in self._pods:
            raise ClusterError(f"no agent runs on node {node!r}; there are {', '.join(sorted(self._pods))}")
        return await self._kube.execute(
            self._namespace, self._pods[node], NAME, ["sh", "-c", script, *arguments]
        )


def _daemon_set(namespace: str, image: str) -> Object:
    labels = {"app": NAME}
    pod = {
        "hostPID": True,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": NAME,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait $!; done"],
                "securityContext": {"privileged": True, "runAsUser": 0},
            }
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }

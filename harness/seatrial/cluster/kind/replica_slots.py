"""Which pod is which replica.

A Deployment's pods have random names. Each gets the label of a free slot (`replica-0`, ...), and a Service for each
slot makes its pod reachable from outside, ready or not, so that clients choose where each call goes, as they do on the
local backend. When a pod ends, its slot is free for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.kind.kube import Kube, NotThere, Object

PLACE_LABEL = "seatrial/replica"
CONTAINER = "engine"
#: the only slot when clients use the chart's Service
SERVICE = "service"
_LOOK_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Pod:
    """As it was when last looked at."""

    name: str
    uid: str
    node: str
    address: str
    image: str
    container_id: str
    is_running: bool
    is_ready: bool
    is_leaving: bool
    restarts: int
    last_exit_code: int | None

    @staticmethod
    def of(found: Object) -> Pod:
        status = found.get("status", {})
        containers = [each for each in status.get("containerStatuses") or () if each["name"] == CONTAINER]
        container: Mapping[str, Any] = containers[0] if containers else {}
        now = container.get("state") or {}
        # A container that waits to be started again still shows the run before the last one as its last state.
        last = now.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        specs = [each for each in found["spec"]["containers"] if each["name"] == CONTAINER]
        return Pod(
            name=found["metadata"]["name"],
            uid=found["metadata"]["uid"],
            node=found["spec"].get("nodeName") or "",
            address=status.get("podIP") or "",
            image=specs[0]["image"] if specs else "",
            container_id=(container.get("containerID") or "").rpartition("/")[2],
            is_running="running" in now,
            is_ready=conditions.get("Ready") == "True" and not found["metadata"].get("deletionTimestamp"),
            is_leaving=bool(found["metadata"].get("deletionTimestamp")),
            restarts=int(container.get("restartCount") or 0),
            last_exit_code=last.get("exitCode"),
        )


class ReplicaSlots:
    """Looks five times a second from `open` to `close`.

    Without `places` no pod is labelled, and all their log lines go into one file, `service.log`.
    """

    def __init__(self, kube: Kube, namespace: str, places: Sequence[str], logs: Path, *, labels: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._labels = labels
        self._places = tuple(places)
        self._logs = logs
        self._pods: dict[str, Pod] = {}
        self._holder: dict[str, str] = {}
        self.places: dict[str, str] = {}
        """Of every pod, by its name, that ever had one."""
        self._restarts_before: dict[str, int] = dict.fromkeys(places, 0)
        self._looker: asyncio.Task[None] | None = None
        self._readers: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._newest_reader: dict[str, asyncio.Task[None]] = {}
        self._began_at: dict[tuple[str, int], int] = {}
        self._changed = asyncio.Event()
        self._fault: ClusterError | None = None

    def open(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        for place in self._places or (SERVICE,):
            self.log_path(place).touch()
        self._looker = asyncio.create_task(self._look())

    async def close(self) -> None:
        tasks = [task for task in (self._looker, *self._readers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        self._looker = None
        self._readers = {}
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def log_path(self, place: str) -> Path:
        return self._logs / f"{place}.log"

    def run_began_at(self, place: str) -> int | None:
        """Where in its log the lines of the container begin that runs there now; None while none of them was read."""
        pod = self.pod(place)
        return self._began_at.get((pod.uid, pod.restarts)) if pod is not None else None

    @property
    def pods(self) -> Sequence[Pod]:
        return list(self._pods.values())

    def pod(self, place: str) -> Pod | None:
        """None while nobody holds the place."""
        return self._pods.get(self._holder.get(place, ""))

    def restarts(self, place: str) -> int:
        """Of all pods that held it."""
        pod = self.pod(place)
        return self._restarts_before[place] + (pod.restarts if pod is not None else 0)

    async def change(self) -> None:
        """Returns after the next look; raises ClusterError when looking has become impossible."""
        await self._changed.wait()
        if self._fault is not None:
            raise self._fault

    async def _look(self) -> None:
        failures = 0
        while True:
            try:
                found = await self._kube.list("Pod", self._namespace, labels=self._labels)
                self._pods = {pod.uid: pod for pod in map(Pod.of, found)}
                await self._seat()
                failures, self._fault = 0, None
            except NotThere:
                pass  # a pod that went while it was being labelled
            except ClusterError as err:
                failures += 1
                self._fault = err if failures > 5 else None
            self._read_logs()
            self._changed.set()
            self._changed = asyncio.Event()
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _seat(self) -> None:
        for place, uid in list(self._holder.items()):
            pod = self._pods.get(uid)
            if pod is None or pod.is_leaving:
                del self._holder[place]
                self._restarts_before[place] += pod.restarts if pod is not None else 0
                if pod is not None:
                    await self._label(pod, None)
        seated = set(self._holder.values())
        free = [place for place in self._places if place not in self._holder]
        waiting = [pod for pod in self._pods.values() if not pod.is_leaving and pod.uid not in seated]
        for place, pod in zip(free, sorted(waiting, key=lambda each: each.name), strict=False):
            await self._label(pod, place)
            self._holder[place] = pod.uid
            self.places[pod.name] = place

    async def _label(self, pod: Pod, place: str | None) -> None:
        change = {"metadata": {"labels": {PLACE_LABEL: place}}}
        await self._kube.patch("Pod", pod.name, change, self._namespace)

    def _read_logs(self) -> None:
        """One reader for each run of each container; those that share a place read one after the other."""
        for pod in self._pods.values():
            run = (pod.uid, pod.restarts)
            if pod.is_running and run not in self._readers:
                place = next((place for place, uid in self._holder.items() if uid == pod.uid), None)
                if place is not None or not self._places:
                    before = self._newest_reader.get(place or "")
                    reader = asyncio.create_task(self._read_log(pod, self.log_path(place or SERVICE), before))
                    self._readers[run] = reader
                    if place is not None:
                        self._newest_reader[place] = reader

    async def _read_log(self, pod: Pod, path: Path, before: asyncio.Task[None] | None) -> None:
        """The lines of a run begin when those of the run before have ended: a node keeps them until they are read."""
        if before is not None:
            await asyncio.wait([before])
        with contextlib.suppress(ClusterError), path.open("ab", buffering=0) as file:
            self._began_at[pod.uid, pod.restarts] = file.tell()
            async for line in self._kube.log_lines(self._namespace, pod.name, CONTAINER):
                file.write(line)


def place_services(namespace: str, places: Sequence[str], ports: Mapping[str, int]) -> list[Object]:
    """One for each place; it leads to the pod that holds it, ready or not."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": place, "namespace": namespace},
            "spec": {
                "type": "NodePort",
                "publishNotReadyAddresses": True,
                "selector": {PLACE_LABEL: place},
                "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports.items()],
            },
        }
        for place in places
    ]

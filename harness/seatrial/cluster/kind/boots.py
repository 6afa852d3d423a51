"""Boots: one start of an engine as its kubelet sees it, in a release of its own that is gone afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import BootReport, Boots
from seatrial.cluster.kind.installation import Installation
from seatrial.cluster.kind.kube import Object, remove_pods
from seatrial.cluster.kind.release import Release
from seatrial.cluster.kind.replica_slots import CONTAINER
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.values import merge

#: until its container runs, which is Kubernetes' time and not the engine's
STARTS_WITHIN_S = 60.0
_INSTALL_WITHIN_S = 30
_LOOK_INTERVAL_S = 0.1
#: a container that a signal ended exits with its number above this
_BY_SIGNAL = 128
_SAID_WITHIN_S = 5.0
#: the kubelet's times are whole seconds
_GRAIN_S = 1.0


class KindBoots(Boots):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._count = 0

    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        """Its time counts from the start of the container."""
        installation = self._installation
        await installation.prepare()
        self._count += 1
        release = Release(
            installation.shared.access, installation.namespace, installation.chart, name=f"boot-{self._count}"
        )
        asked = merge(installation.values("this"), {**values, "replicaCount": 1})
        return await observed_boot(
            installation.shared,
            release,
            asked,
            bound_s=bound_s,
            without_secret=installation.without_secret,
        )


@dataclass(frozen=True, slots=True)
class Look:
    """Where the first run has got to; `took_s` is set when it was ready or has ended."""

    pod: str
    node: str
    has_begun: bool
    restarts: int
    container_id: str
    exit_code: int | None = None
    ready: bool = False
    took_s: float | None = None

    @staticmethod
    def at(found: Object) -> Look:
        status = found["status"]
        containers = [each for each in status.get("containerStatuses") or () if each["name"] == CONTAINER]
        container: Mapping[str, Any] = containers[0] if containers else {}
        now, last = container.get("state") or {}, container.get("lastState") or {}
        ended = last.get("terminated") or now.get("terminated")
        began = ended or now.get("running")
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        ready = conditions.get("Ready") or {}
        is_ready = ended is None and ready.get("status") == "True"
        until = ended["finishedAt"] if ended else ready["lastTransitionTime"] if is_ready else None
        return Look(
            pod=found["metadata"]["name"],
            node=found["spec"].get("nodeName") or "",
            has_begun=began is not None,
            restarts=int(container.get("restartCount") or 0),
            container_id=((ended or container).get("containerID") or "").rpartition("/")[2],
            exit_code=_exit_code(int(ended["exitCode"])) if ended else None,
            ready=is_ready,
            took_s=_seconds(began["startedAt"], until) if began and until else None,
        )


async def observed_boot(
    shared: SharedServices,
    release: Release,
    values: Mapping[str, Any],
    *,
    bound_s: float,
    without_secret: Callable[[str], str],
) -> BootReport:
    """Its time counts from the start of its container, in whole seconds rounded up."""
    try:
        await release.install(values, within_s=_INSTALL_WITHIN_S, waits=False)
        look, waited_s = await _watched(shared, release, bound_s)
        left = 0
        if look.exit_code is not None:
            left = len(await shared.agent.states(look.node, look.container_id))
        said = await _said(shared, release)
    finally:
        await release.uninstall(within_s=_INSTALL_WITHIN_S)
        await remove_pods(shared.kube, release.namespace, labels=release.labels)
    output = without_secret(said)
    took_s = waited_s if look.took_s is None else look.took_s
    return BootReport(look.exit_code, look.ready, output, output != said, round(took_s, 3), left)


async def _watched(shared: SharedServices, release: Release, bound_s: float) -> tuple[Look, float]:
    """The last look, and how long its container was watched."""
    called_s = time.monotonic()
    began_s: float | None = None
    while True:
        look = await _look(shared, release)
        now_s = time.monotonic()
        if look is not None and look.has_begun:
            began_s = began_s or now_s
            if look.took_s is not None or now_s - began_s > bound_s:
                return look, now_s - began_s
        elif now_s - called_s > STARTS_WITHIN_S:
            raise ClusterError(f"the container of {release.name} does not start in {STARTS_WITHIN_S:g} s")
        await asyncio.sleep(_LOOK_INTERVAL_S)


async def _look(shared: SharedServices, release: Release) -> Look | None:
    found = await shared.kube.list("Pod", release.namespace, labels=release.labels)
    return Look.at(found[0]) if found else None


async def _said(shared: SharedServices, release: Release) -> str:
    """What the run wrote; of one that was started again meanwhile, the run before. The log of one that has just ended
    may come a moment later.
    """
    give_up_s = time.monotonic() + _SAID_WITHIN_S
    while True:
        before = await _look(shared, release)
        if before is None:
            raise ClusterError(f"the pod of {release.name} went away by itself")
        text = await shared.kube.log(
            release.namespace, before.pod, CONTAINER, of_run_before=before.restarts > 0
        )
        after = await _look(shared, release)
        if after is not None and after.restarts == before.restarts and (text or time.monotonic() > give_up_s):
            return text
        await asyncio.sleep(_LOOK_INTERVAL_S)


def _exit_code(code: int) -> int:
    """As of a process: minus the signal's number when one ended it."""
    return code if code <= _BY_SIGNAL else _BY_SIGNAL - code


def _seconds(began_at: str, ended_at: str) -> float:
    began, ended = (datetime.fromisoformat(each) for each in (began_at, ended_at))
    return (ended - began).total_seconds() + _GRAIN_S

"""A fault is injected, confirmed to have an effect, held and healed: six phases (CockroachDB's failure modes),
recorded.

A fault without an effect proves nothing: `inflicted` raises FaultHadNoEffect and the drill is invalid. Healing
happens whatever else happens, a cancelled run included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Schedulers
from seatrial.history import Recorder

#: the targets of faults that are not one replica
ALL_REPLICAS = "all"
DATABASE = "database"
BROKER = "broker"
WAKE_BUS = "wake bus"

HEAL_WITHIN_S = 120.0

Evidence = dict[str, Any]


class FaultError(Exception):
    """The fault cannot be carried out: names the fault, the target and the remedy."""


class FaultHadNoEffect(FaultError):
    """It was injected but had no visible effect."""


class NotHealed(FaultError):
    """The fault is removed, but a replica did not become ready again."""


class Fault(Protocol):
    """`target` is the name of a replica or of a scheduler, ALL_REPLICAS or DATABASE; `parameters` are for the record,
    units in names.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]]
    """The abilities that it uses; a cluster without one of them is refused before `setup`."""

    @property
    def target(self) -> str: ...

    def parameters(self) -> Mapping[str, Any]: ...

    async def setup(self, cluster: Cluster) -> None:
        """What must be there before it is injected; `cleanup` gives it back."""
        ...

    async def inject(self, cluster: Cluster) -> None: ...

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        """The evidence of its effect, or FaultHadNoEffect."""
        ...

    async def heal(self, cluster: Cluster) -> None:
        """Takes the fault away; harmless when it was never injected."""
        ...

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Returns when every touched replica is ready again, or raises NotHealed."""
        ...

    async def cleanup(self, cluster: Cluster) -> None:
        """Removes what `setup` created."""
        ...


class Bare:
    """A fault whose setup creates nothing that must be removed."""

    async def setup(self, cluster: Cluster) -> None:
        """Nothing to do."""

    async def cleanup(self, cluster: Cluster) -> None:
        """Nothing to do."""


@asynccontextmanager
async def inflicted(
    fault: Fault, cluster: Cluster, recorder: Recorder, *, process: str = "fault-0"
) -> AsyncIterator[Evidence]:
    """The fault holds inside the block. Faults that overlap need processes of different names."""
    if lacking := cluster.lacks(fault.needs):
        raise FaultError(
            f"{fault.name} needs {', '.join(lacking)}, which {cluster.words} does not have; "
            "run this drill on another --backend"
        )
    known = [replica.name for replica in cluster.replicas()]
    nodes = [*known, *(cluster.ability(Schedulers).names() if cluster.has(Schedulers) else ())]
    if fault.target not in {*nodes, ALL_REPLICAS, DATABASE, BROKER, WAKE_BUS}:
        raise FaultError(f"{fault.name}: no node {fault.target!r}; there are {', '.join(nodes)}")
    await fault.setup(cluster)
    targets = {"target": known if fault.target == ALL_REPLICAS else fault.target}
    is_orderly = False
    try:
        evidence = await _inject(fault, cluster, recorder, process, targets)
        yield evidence
        is_orderly = True
    finally:
        try:
            await _to_the_end(_heal(fault, cluster, recorder, process, targets))
            if is_orderly:
                await fault.wait_until_healed(cluster)
        finally:
            await _to_the_end(fault.cleanup(cluster))


async def _inject(
    fault: Fault, cluster: Cluster, recorder: Recorder, process: str, targets: Evidence
) -> Evidence:
    call = recorder.invoke(process, fault.name, {**targets, "parameters": dict(fault.parameters())})
    try:
        await fault.inject(cluster)
        evidence = await fault.wait_until_effective(cluster)
    except FaultHadNoEffect as err:
        recorder.end(process, "fail", fault.name, call, targets, error=_error("fault-did-not-bite", err))
        raise
    except BaseException as err:
        recorder.end(process, "info", fault.name, call, targets, error=_error("fault-broke-off", err))
        raise
    recorder.end(process, "ok", fault.name, call, {**targets, **evidence})
    return evidence


async def _heal(fault: Fault, cluster: Cluster, recorder: Recorder, process: str, targets: Evidence) -> None:
    """What is recorded is the end of the fault, so that the engine's recovery can be timed from there."""
    call = recorder.invoke(process, "heal", {**targets, "fault": fault.name})
    try:
        async with asyncio.timeout(HEAL_WITHIN_S):
            await fault.heal(cluster)
    except Exception as err:
        recorder.end(process, "fail", "heal", call, targets, error=_error("heal-failed", err))
        raise FaultError(f"{fault.name} of {fault.target} cannot be healed: {err}") from err
    recorder.end(process, "ok", "heal", call, {**targets, "fault": fault.name})


def _error(code: str, err: BaseException) -> Mapping[str, Any]:
    return {"code": code, "status": 0, "message": str(err) or type(err).__name__}


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits it to its end; a cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as err:
            cancelled = err
    task.result()
    if cancelled is not None:
        raise cancelled

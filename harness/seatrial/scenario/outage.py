"""The course that drills of an outage share: work before it, through it, and after it until nothing is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from seatrial.check.probe_truth import LIVENESS, READINESS
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import WorkerSpec, Workload

_WAITS_FOR_PEOPLE = ("USER_TASK", "WAIT")


@asynccontextmanager
async def working(
    context: ScenarioContext,
    workloads: Sequence[Workload],
    worker: WorkerSpec,
    *,
    workers: int,
    loads: Sequence[str],
    fault_at: str,
    drain_s: float,
    readers: int = 0,
) -> AsyncIterator[None]:
    """The block is the fault; it begins when the load is as old as the schedule says under `fault_at` (seconds).

    `loads` are the keys of the schedule's starts. At the end of the block it is healed: the loads go on to their end,
    and what is open has `drain_s` to finish.
    """
    await context.upload(*workloads)
    context.workers.start(worker, workers)
    if any(
        step["type"] in _WAITS_FOR_PEOPLE
        for workload in workloads
        for definition in workload.definitions
        for step in definition["steps"]
    ):
        context.people()
    await context.workers_joined()
    context.phase("load")
    context.readers(readers)
    load = context.spawn(context.race(context.load(context.schedule[name]) for name in loads))
    await context.at(context.schedule[fault_at])
    context.phase("fault")
    yield
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(drain_s)


def watch_probes(context: ScenarioContext, every_s: float) -> None:
    """Asks every replica for liveness and readiness until the scenario's end, for PT to judge."""
    for name in context.names:
        for path in (LIVENESS[0], READINESS[0]):
            context.watch(name, path, every_s=every_s)

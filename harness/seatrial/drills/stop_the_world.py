"""U10: an upgrade while nothing runs: the workers are drained, the scheduler and the API nodes stopped, the next
release migrates and starts, and the workers come back.

It is the way for those who want no two releases at once. Callers wait meanwhile, timers that come due in between fire
late but once, and since the workers were drained no lease is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill, NextRelease, Reconfigure, Schedulers
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.drills.timers import DEFINITION, wait_for_an_answer
from seatrial.fault.replacement import StopTheWorld
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.5))
LINEAR_STARTS = 240
TIMER_STARTS = 120
LOAD_S = 12.0
WORKERS = 2
SLOTS = 16
LEASE_S = 10
#: nothing runs for so long, and the start of the next release comes on top
STOPPED_S = 2.0
#: until every replica of the next release is ready, on a busy machine
STARTS_WITHIN_S = 15.0
LATENESS_BOUND_S = STOPPED_S + STARTS_WITHIN_S
DRAIN_S = 40.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, LINEAR_STARTS, over_s=LOAD_S),
        "timers": sorted(round(rng.uniform(0.0, LOAD_S), 4) for _ in range(TIMER_STARTS)),
        "stopped_at_s": round(rng.uniform(4.0, 5.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    values = context.ability(NextRelease).values()
    await context.client().upload(DEFINITION)
    await context.upload(LINEAR)
    timers = {"deadline-remind": Handler(), "deadline-escalate": Handler()}
    spec = LINEAR.worker(handlers={**LINEAR.handlers, **timers}, slots=SLOTS, lease_s=LEASE_S)
    workers = context.workers.start(spec, WORKERS)
    context.phase("load")
    loads = [
        context.spawn(wait_for_an_answer(context, number, at_s, None))
        for number, at_s in enumerate(context.schedule["timers"])
    ]
    linear_load = context.spawn(context.load(context.schedule["linear"]))
    await context.at(context.schedule["stopped_at_s"])
    context.phase("fault")
    await context.race(context.workers.stop(worker) for worker in workers)
    await context.fault(StopTheWorld(values), hold_s=STOPPED_S)
    context.phase("heal")
    context.workers.start(spec, WORKERS)
    await asyncio.gather(linear_load, *loads)
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="U10",
    title="An upgrade while nothing runs, with drained workers",
    promise="Nothing is lost when all nodes are stopped, upgraded and started, and no drained worker loses a lease.",
    checks=("TP", "AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STOPPED_S + STARTS_WITHIN_S,
        "timer_lateness_bound_s": LATENESS_BOUND_S,
        "timers_min": TIMER_STARTS,
        # 0: nobody is there; 503: it is leaving.
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "faults_min": 1,
        "ops_min": LINEAR_STARTS,
        # Those that came due while nobody ran.
        "circumstances_min": {"timers_late": 5},
    },
    needs=(Database, Kill, NextRelease, Reconfigure, Schedulers),
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
        {"scheduler": {"replicas": 1}},
    ),
    bound_s=150.0,
)

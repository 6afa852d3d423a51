"""T5: a definition is uploaded and started before its topic exists; all other jobs continue (contract 6.6). Where the
first error fails a whole batch, one missing topic stops all dispatch, and what was already sent is sent again and
again (contract 11 row 13). Here only the rows of the missing topic wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.destination import MissingDestination
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import together
from seatrial.workload.linear import linear, linear_starts

FLOWING = linear(2, name="flowing")
LATE = linear(1, name="late")
FLOWING_STARTS = 90
LATE_STARTS = 20
LOAD_S = 8.0
AWAY_S = 4.0
FLOW_BOUND_S = 3.0
DRAIN_S = 60.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "flowing": linear_starts(rng, 2, FLOWING_STARTS, over_s=LOAD_S, name="flowing"),
        "late": linear_starts(rng, 1, LATE_STARTS, over_s=1.0, name="late"),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(FLOWING)
    context.workers.start(FLOWING.worker(), 2)
    await context.workers_joined()
    await context.upload(LATE, destinations=False)
    context.phase("load")
    loads = context.spawn(context.race(context.load(context.schedule[name]) for name in ("flowing", "late")))
    async with context.inflicted(MissingDestination(tuple(sorted(LATE.job_types())))):
        await asyncio.sleep(AWAY_S)
    context.phase("heal")
    context.workers.start(together(LATE))
    await loads
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="T5",
    title="A topic is missing after the boot",
    promise="Only jobs whose topic is missing wait; nothing is sent twice, and the engine reports it (contract 6.6).",
    checks=("RT", "OC", "PO", "LD", "NL", "NP", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": FLOW_BOUND_S,
        "republished_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 1,
        "ops_min": FLOWING_STARTS,
    },
    needs=(Database, Broker, Kill),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    mode="kafka",
    core=True,
    bound_s=150.0,
)

"""D6: engines behind PgBouncer in transaction mode; it is restarted under load, and then its side of the server is cut.

No session is the engine's own there, so whatever it would keep in one is lost at each of these.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill, Pooler, Reconfigure
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.pooler import CutPooler, StopPooler
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 180
KAFKA_STARTS = 90
LOAD_S = 10.0
DOWN_S = 1.0
CUT_S = 1.5
#: the pooler itself leaves a database alone for a second that refused it
RECOVERY_BOUND_S = 5.0
WORKERS = 2
LEASE_S = 3
DRAIN_S = 25.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, STARTS)


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, KAFKA_STARTS)


def _plan(rng: random.Random, starts: int) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, starts, over_s=LOAD_S),
        "stop_at_s": round(rng.uniform(1.0, 1.5), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.ability(Pooler).attach()
    await context.race(context.ability(Reconfigure).reconfigure(name, {}) for name in context.names)
    async with working(
        context,
        (LINEAR,),
        LINEAR.worker(lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear",),
        fault_at="stop_at_s",
        drain_s=DRAIN_S,
    ):
        await context.fault(StopPooler(), hold_s=DOWN_S)
        await context.fault(CutPooler(), hold_s=CUT_S)


DRILL = Drill(
    id="D6",
    title="The pooler restarted, and its server side cut",
    promise="Behind a pooler in transaction mode nothing acknowledged is lost with it, and work goes on within 5 s.",
    checks=("NL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "recovery_after_heal_bound_s": RECOVERY_BOUND_S,
        # 409: a lease expired meanwhile; 0: a call took longer than its caller waits.
        "error_statuses_allowed": [0, 409, 503],
        "errors_only_during_fault": True,
        "faults_min": 2,
        "ops_min": STARTS,
    },
    needs=(Database, Kill, Pooler, Reconfigure),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    core=True,
    bound_s=120.0,
)

KAFKA = DRILL.through_broker(
    title="The pooler restarted, and its server side cut; jobs through Kafka",
    promise="Behind a pooler the relay's lead is a lease, and the outbox loses nothing with the pooler.",
    checks=("NL", "NP", "S1x", "OC", "PO", "LD", "RT", "LV", "AV"),
    plan=smaller_plan,
    parameters={"ops_min": KAFKA_STARTS},
)

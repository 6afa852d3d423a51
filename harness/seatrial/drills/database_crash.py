"""D1: every process of PostgreSQL is killed under load, and it restarts with its own recovery.

What was acknowledged had been committed with fsync on, so it is there afterwards; what was not acknowledged may or may
not have happened. The engine must notice, answer 503 until then, and recover by itself, within a bound.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.database import CrashDatabase
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import Handler, together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3, handler=Handler(think_max_s=0.1))
LOAN = loan(think_max_s=0.1)
LINEAR_STARTS = 300
LOAN_STARTS = 40
LOAD_S = 9.0
DOWN_S = 1.5
WORKERS = 2
SLOTS = 24
LEASE_S = 3
DRAIN_S = 25.0
#: from the database's first answer; of all calls, those through a broker as well
READY_WITHIN_S = 5.0
KAFKA_LINEAR_STARTS = 90
KAFKA_LOAN_STARTS = 16


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
        "crash_at_s": round(rng.uniform(2.0, 4.0), 3),
    }


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, KAFKA_LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, KAFKA_LOAN_STARTS, over_s=LOAD_S),
        "crash_at_s": round(rng.uniform(2.0, 4.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    async with working(
        context,
        (LINEAR, LOAN),
        together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear", "loan"),
        fault_at="crash_at_s",
        drain_s=DRAIN_S,
    ):
        await context.fault(CrashDatabase("kill"), hold_s=DOWN_S)


DRILL = Drill(
    id="D1",
    title="PostgreSQL killed under load",
    promise="Nothing acknowledged is lost when the database crashes, and work continues without help.",
    checks=("NL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "recovery_after_heal_bound_s": READY_WITHIN_S,
        # 503: the database is down; 409: a lease expired meanwhile; 0: a call took longer than its caller waits; 404: a
        # user task was completed by a call that got no answer.
        "error_statuses_allowed": [0, 404, 409, 503],
        "errors_only_during_fault": True,
        "faults_min": 1,
        "ops_min": LINEAR_STARTS,
    },
    needs=(Database, Kill),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=0.5,
    ),
    core=True,
    on_compose=True,
    bound_s=120.0,
)

KAFKA = DRILL.through_broker(
    title="PostgreSQL killed under load, jobs through Kafka",
    promise="The outbox survives a crash of the database, and the relay recovers by itself.",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LD", "RT", "LV", "AV"),
    plan=smaller_plan,
    parameters={"ops_min": KAFKA_LINEAR_STARTS},
)

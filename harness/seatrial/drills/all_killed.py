"""F8: every replica dies at once, in the middle of everything. Nothing that matters is only in their memory. All
replicas die while workers hold jobs, user tasks wait and timers run, and every acknowledged call is looked up by its
id.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.kill import KillAllReplicas
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.workload import Handler, together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3, handler=Handler(think_min_s=0.05, think_max_s=0.3))
LOAN = loan(think_max_s=0.2)
LINEAR_STARTS = 250
LOAN_STARTS = 40
LOAD_S = 7.0
DOWN_S = 1.0
IN_HAND_WITHIN_S = 15.0
WORKERS = 2
SLOTS = 24
LEASE_S = 3
DRAIN_S = 40.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
        "kill_at_s": round(rng.uniform(2.0, 4.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR, LOAN)
    context.workers.start(together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S), WORKERS)
    context.people()
    context.phase("load")
    loads = context.spawn(context.race(context.load(context.schedule[name]) for name in ("linear", "loan")))
    await context.at(context.schedule["kill_at_s"])

    async def work_is_in_hand() -> bool:
        return bool((await context.query("SELECT count(*) FROM job WHERE status = 'LOCKED'"))[0][0])

    await context.eventually(work_is_in_hand, IN_HAND_WITHIN_S, "a worker holds a job")
    context.phase("fault")
    async with context.inflicted(KillAllReplicas()):
        await _something_was_in_hand(context)
        await asyncio.sleep(DOWN_S)
    context.phase("heal")
    await loads
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _something_was_in_hand(context: ScenarioContext) -> None:
    """Replicas that die idle lose nothing, whatever they keep in memory."""
    leased = (await context.query("SELECT count(*) FROM job WHERE status = 'LOCKED'"))[0][0]
    started = (
        await context.query("SELECT count(*) FROM workflow_instance WHERE status IN ('ACTIVE', 'WAITING')")
    )[0][0]
    if not leased or not started:
        raise NotReached(f"the replicas died with {leased} jobs leased and {started} instances open")


DRILL = Drill(
    id="F8",
    title="All replicas killed and restarted",
    promise="After all replicas were killed at once and restarted, every instance continues where it was.",
    checks=("NL", "NP", "LX", "S1x", "DB", "LV", "RT", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        # 409: a worker that held a job over the outage finds it leased again; 404: a user task was completed by a call
        # that got no answer.
        "error_statuses_allowed": [0, 404, 409],
        "errors_only_during_fault": True,
        "faults_min": 1,
        "ops_min": LINEAR_STARTS,
    },
    needs=(Kill, Database),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    core=True,
    on_compose=True,
    bound_s=120.0,
)

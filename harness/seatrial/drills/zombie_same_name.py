"""L3: as L2, but a worker with the same worker id takes over the jobs, so that only the token tells the two apart. A
worker's name is not enough: a supervisor that restarts a process under its old name creates two holders with one
name. The optional `leaseToken` fences them; clients that do not send it are fenced by name alone, so this holds for
those
that do. Half of the paused worker's jobs come back as completions, half as retryable failures, which must neither
free nor fail what the other worker holds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

RETRY_COUNT = 3
COMPLETES = linear(1, name="completes")
FAILS = linear(1, name="fails", retry_count=RETRY_COUNT)
NAME = "twin"
JOBS_EACH = 10
LEASE_S = 3
SWEEP_S = 1
ZOMBIE_THINKS_S = (1.6, 2.4)
NAMESAKE_LEASE_S = 30
NAMESAKE_THINKS_S = (4.0, 5.0)
LEASED_WITHIN_S = 10.0
TAKEN_OVER_WITHIN_S = 20.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": [
            start
            for name in ("completes", "fails")
            for start in linear_starts(rng, 1, JOBS_EACH, over_s=0.2, name=name)
        ]
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(COMPLETES, FAILS)
    slots = 2 * JOBS_EACH
    completes, fails = Handler(*ZOMBIE_THINKS_S), Handler(*ZOMBIE_THINKS_S, fail_while_retries_above=0)
    zombie_answers = dict.fromkeys(COMPLETES.handlers, completes) | dict.fromkeys(FAILS.handlers, fails)
    namesake_answers = dict.fromkeys(zombie_answers, Handler(*NAMESAKE_THINKS_S))
    (zombie,) = context.workers.start(
        COMPLETES.worker(handlers=zombie_answers, slots=slots, lease_s=LEASE_S, worker_id=NAME)
    )
    context.phase("load")
    await context.load(context.schedule["starts"])

    async def held_for(seconds: float) -> int:
        rows = await context.query(
            "SELECT count(*) FROM job WHERE status = 'LOCKED' AND worker_id = %s "
            "AND lock_expires_at > clock_timestamp() + %s * interval '1 second'",
            NAME,
            seconds,
        )
        return int(rows[0][0])

    async def zombie_has_all() -> bool:
        return await held_for(0) == slots

    async def namesake_has_all() -> bool:
        """Only a lease of the namesake's length runs so long."""
        return await held_for(LEASE_S + 1) == slots

    await context.eventually(zombie_has_all, LEASED_WITHIN_S, f"{NAME} holds all jobs")
    context.phase("fault")
    await context.workers.pause(zombie)
    context.workers.start(
        COMPLETES.worker(handlers=namesake_answers, slots=slots, lease_s=NAMESAKE_LEASE_S, worker_id=NAME)
    )
    await context.reached(namesake_has_all, TAKEN_OVER_WITHIN_S)
    await context.workers.resume(zombie)
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="L3",
    title="A paused worker comes back with the same name as the holder",
    promise="A worker's name is not enough (contract 1.6): the token fences a stale answer even under the same name.",
    checks=("FN", "LX", "NL", "NP", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "stale_expected": True,
        "error_statuses_allowed": [409],
        "ops_min": 2 * JOBS_EACH,
        "faults_min": 1,
        "circumstances_min": {"leases_lapsed": JOBS_EACH},
    },
    needs=(Database,),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=1),
    bound_s=100.0,
)

"""L6: jobs that kill every worker that takes them; each ends after a few attempts, and nothing else suffers. Few
lease-based queues limit this: a job whose handler kills its process is reclaimed and tried for ever, and kills a
worker each time. Here expired leases are counted, and at the limit (WINDLASS_LEASE_EXPIRIES_MAX, contract 5.5) job
and instance are FAILED with a reason that says so. Workers take one job at a time: a process that dies takes all it has
in hand with it, and those leases would count too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

POISON = "poison"
LINEAR = linear(2, handler=Handler(think_max_s=0.02, poison_variable=POISON))
STARTS = 120
POISONED = 3
ATTEMPTS_MAX = 3
LOAD_S = 6.0
WORKERS = 3
LEASE_S = 2
SWEEP_S = 1
DRAIN_S = 40.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    starts = linear_starts(rng, 2, STARTS, over_s=LOAD_S)
    doomed = set(rng.sample(range(STARTS // 2), POISONED))
    return {
        "starts": [
            msgspec.structs.replace(start, variables={**start.variables, POISON: number in doomed})
            for number, start in enumerate(starts)
        ]
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(slots=1, lease_s=LEASE_S), WORKERS, keep_alive=True)
    context.phase("load")
    await context.load(context.schedule["starts"])
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="L6",
    title="A job kills every worker that takes it",
    promise="A job whose workers never answer ends FAILED with its cause after a few leases (contract 5.5).",
    checks=("NL", "NP", "LX", "FN", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "doomed_variable": POISON,
        "doomed_reason": "WINDLASS_LEASE_EXPIRIES_MAX",
        "duplicates_max": POISONED * (ATTEMPTS_MAX - 1),
        "error_statuses_allowed": [],
        "ops_min": STARTS,
        "circumstances_min": {"leases_lapsed": POISONED * (ATTEMPTS_MAX - 1)},
    },
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_LEASE_EXPIRIES_MAX=ATTEMPTS_MAX,
    ),
    bound_s=90.0,
)

"""L9: every worker polls at one replica and answers at another, always.

Where a balancer or a client's pool binds a caller to a node, the node that gives the lease and the one that is
answered can differ for good. L5 mixes them at random; here no job at all is answered where it was leased.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

STEPS = 3
LINEAR = linear(STEPS, handler=Handler(think_max_s=0.05))
STARTS = 400
LOAD_S = 8.0
SLOTS = 32
#: longer than anything takes here: a lease that runs out was not accepted where it was answered
LEASE_S = 10
SWEEP_S = 1
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, STEPS, STARTS, over_s=LOAD_S)}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    names = context.names
    for polls_at, answers_at in zip(names, [*names[1:], names[0]], strict=True):
        context.workers.start(
            LINEAR.worker(slots=SLOTS, lease_s=LEASE_S, polls_at=polls_at, answers_at=answers_at)
        )
    context.phase("load")
    await context.load(context.schedule["starts"])
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="L9",
    title="Every job is leased at one replica and answered at another",
    promise="No caller needs a sticky session: what one node leased, another takes the answer of, every time.",
    checks=("NL", "NP", "LX", "FN", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "error_statuses_allowed": [],
        "ops_min": STEPS * STARTS,
        "circumstances_min": {"leases_completed_elsewhere": STEPS * STARTS},
    },
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=1),
    bound_s=90.0,
)

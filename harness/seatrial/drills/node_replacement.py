"""U9: the nodes are replaced one by one by the next release, which migrates, and one by one by this one again.

Between the first and the last replacement both releases serve on one schema, with calls at random to either: what one
leases the other completes. The way back is what an operator takes when the new release disappoints.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, NextRelease, Reconfigure, Schedulers
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.fault.replacement import ReplaceNode
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, together, until
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3, handler=Handler(think_max_s=0.3))
LOAN = loan(think_max_s=0.1)
#: so many if it takes so long; the load ends with the last replacement
LINEAR_STARTS = 1500
LOAN_STARTS = 200
LOAD_S = 110.0
LINEAR_STARTS_MIN = 250
#: both releases serve for so long after each replacement
MIXED_S = 1.5
RECOVERY_BOUND_S = 5.0
WORKERS = 2
SLOTS = 24
LEASE_S = 10
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
        "begun_at_s": round(rng.uniform(1.0, 2.0), 3),
        "order": rng.sample(range(3), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    replicas = [context.names[number % len(context.names)] for number in context.schedule["order"]]
    nodes = [*dict.fromkeys(replicas), *context.ability(Schedulers).names()]
    await context.upload(LINEAR, LOAN)
    context.workers.start(together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S), WORKERS)
    context.people()
    context.phase("load")
    done = asyncio.Event()
    loads = context.spawn(
        context.race(context.load(until(done, context.schedule[name])) for name in ("linear", "loan"))
    )
    await context.at(context.schedule["begun_at_s"])
    context.phase("fault")
    for release, values in (("next", context.ability(NextRelease).values()), ("this", {})):
        for node in nodes:
            await context.fault(ReplaceNode(node, release, values))
            await asyncio.sleep(MIXED_S)
    context.phase("heal")
    done.set()
    await loads
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="U9",
    title="Nodes replaced one by one, both releases beside each other, and back",
    promise="Two neighbouring releases share one schema and one another's leases, on the way there and back.",
    checks=("AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": RECOVERY_BOUND_S,
        # The node that is replaced is away, or leaving; a call that it took is answered.
        "error_statuses_allowed": [0, 503],
        "error_codes_allowed": ["connection-refused", "unavailable"],
        "errors_only_during_fault": True,
        "errors_only_at_target": True,
        "faults_min": 6,
        "ops_min": LINEAR_STARTS_MIN,
        "circumstances_min": {"leases_completed_elsewhere": LINEAR_STARTS_MIN},
    },
    needs=(Database, NextRelease, Reconfigure, Schedulers),
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
        {"scheduler": {"replicas": 1}},
    ),
    bound_s=180.0,
)

"""D2-patroni: the primary's machine is gone, and Patroni makes its synchronous standby the primary.

The other drills of a failover promote the standby by the harness's own hand. Here nobody does: the leader's key runs
out in etcd, the standby takes it and promotes itself, as where operators run Patroni. The engines know both addresses
and find out which takes writes. How long the manager takes is its own affair; the engines' time counts from the first
write that a client of the harness gets through.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, ManagedFailover, Reconfigure
from seatrial.drill import Drill
from seatrial.drills.failover import DRAIN_S, LEASE_S, LINEAR, LOAN, PARAMETERS, SLOTS, VALUES, WORKERS
from seatrial.fault.managed import KillLeader
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import together
from seatrial.workload.linear import linear_starts
from seatrial.workload.loan import loan_starts

LINEAR_STARTS = 240
LOAN_STARTS = 30
#: the manager needs its ttl and a promotion; the load goes on beyond them
LOAD_S = 18.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
        "killed_at_s": round(rng.uniform(2.0, 4.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.ability(ManagedFailover).attach()
    await context.race(context.ability(Reconfigure).reconfigure(name, {}) for name in context.names)
    async with working(
        context,
        (LINEAR, LOAN),
        together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear", "loan"),
        fault_at="killed_at_s",
        drain_s=DRAIN_S,
    ):
        await context.fault(KillLeader())


DRILL = Drill(
    id="D2-patroni",
    title="The primary is killed, and Patroni makes its synchronous standby the primary",
    promise="A failover by a real manager loses nothing acknowledged, and work goes on 5 s after the first write.",
    checks=("NL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    # How long nobody serves is the manager's affair; see the module.
    parameters={**PARAMETERS, "recovery_bound_s": 30, "ops_min": LINEAR_STARTS},
    needs=(Database, ManagedFailover, Reconfigure),
    values=VALUES,
    bound_s=180.0,
)

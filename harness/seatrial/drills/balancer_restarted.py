"""C3: the balancer is stopped and started, then killed and started, under load that knows nothing else.

It holds nothing that is worth keeping, so all there is to lose are the calls in it, and time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Balancer, Database, Kill
from seatrial.drill import Drill
from seatrial.fault.balancer import LoseBalancer
from seatrial.scenario import balanced
from seatrial.scenario.context import ScenarioContext

#: a stop waits for the long polls in it
STOP_WITHIN_S = 10.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": balanced.starts(rng),
        "before_s": [round(rng.uniform(1.0, 2.0), 3) for _ in range(2)],
        "away_s": [round(rng.uniform(0.5, 1.0), 3) for _ in range(2)],
    }


async def scenario(context: ScenarioContext) -> None:
    schedule = context.schedule
    async with balanced.through_balancer(context):
        for fault, before_s, away_s in zip(
            (LoseBalancer("stop"), LoseBalancer("kill")),
            schedule["before_s"],
            schedule["away_s"],
            strict=True,
        ):
            await asyncio.sleep(before_s)
            await context.fault(fault, hold_s=away_s)
        await asyncio.sleep(balanced.BACK_WITHIN_S)


DRILL = Drill(
    id="C3",
    title="The balancer is restarted, and killed",
    promise="A balancer holds nothing that can be lost: callers are served again as soon as it is back.",
    checks=balanced.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=balanced.parameters(
        recovery_bound_s=STOP_WITHIN_S + balanced.BACK_WITHIN_S,
        recovery_after_heal_bound_s=balanced.BACK_WITHIN_S,
        faults_min=2,
    ),
    needs=(Balancer, Kill, Database),
    values=balanced.VALUES,
    replicas=balanced.REPLICAS,
    entrance="service",
    on_compose=True,
    bound_s=balanced.BOUND_S,
)

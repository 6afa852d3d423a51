"""C4: a server is added behind the balancer, and one is taken away, again and again, under load that knows only the
balancer.

A server that comes gets calls only when it is ready, and one that leaves answers what it has taken. A connection that
the system has accepted for it in its last moment is reset, and nobody knows what became of the call: the balancer
repeats reads and completions, and tells the caller of a start. So no read may fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Balancer, Database, Scale
from seatrial.drill import Drill
from seatrial.fault.scale import ScaleRelease
from seatrial.scenario import balanced
from seatrial.scenario.context import ScenarioContext

WAVES = 2
MORE, FEWER = balanced.REPLICAS + 1, balanced.REPLICAS - 1


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": balanced.starts(rng),
        "before_s": [round(rng.uniform(0.5, 1.5), 3) for _ in range(2 * WAVES)],
    }


async def scenario(context: ScenarioContext) -> None:
    async with balanced.through_balancer(context):
        for servers, before_s in zip((MORE, FEWER) * WAVES, context.schedule["before_s"], strict=True):
            await asyncio.sleep(before_s)
            await context.fault(ScaleRelease(servers))


DRILL = Drill(
    id="C4",
    title="Servers are added behind the balancer, and taken away",
    promise="Servers come and go behind a balancer: no read fails, no start happens twice, traffic goes on.",
    checks=balanced.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=balanced.parameters(
        recovery_bound_s=balanced.BACK_WITHIN_S,
        never_failing=["probe", "get"],
        error_statuses_allowed=[503],
        faults_min=2 * WAVES,
    ),
    needs=(Balancer, Scale, Database),
    values=balanced.VALUES,
    replicas=balanced.REPLICAS,
    entrance="service",
    bound_s=balanced.BOUND_S,
)

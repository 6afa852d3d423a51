"""C1: one of the servers behind a balancer is killed, again and again, under load that knows only the balancer.

A balancer hides a lost node only if it repeats what may be repeated, and does harm if it repeats the rest: a start that
it sends to a second server, because the first died before it answered, is a second instance. So no read may fail, and
each start may happen once at most.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Balancer, Database, Kill
from seatrial.drill import Drill
from seatrial.fault.balancer import LoseServer
from seatrial.scenario import balanced
from seatrial.scenario.context import ScenarioContext

LOSSES = 4


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": balanced.starts(rng),
        "servers": [f"replica-{rng.randrange(balanced.REPLICAS)}" for _ in range(LOSSES)],
        "before_s": [round(rng.uniform(0.5, 1.5), 3) for _ in range(LOSSES)],
        "away_s": [round(rng.uniform(1.0, 2.0), 3) for _ in range(LOSSES)],
    }


async def scenario(context: ScenarioContext) -> None:
    schedule = context.schedule
    async with balanced.through_balancer(context):
        for server, before_s, away_s in zip(
            schedule["servers"], schedule["before_s"], schedule["away_s"], strict=True
        ):
            await asyncio.sleep(before_s)
            await context.fault(LoseServer(server), hold_s=away_s)


DRILL = Drill(
    id="C1",
    title="A server behind the balancer is killed, again and again",
    promise="Callers of a balancer are served at once after a server is lost: no read fails, no start happens twice.",
    checks=balanced.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=balanced.parameters(
        recovery_bound_s=balanced.BACK_WITHIN_S, never_failing=["get"], faults_min=LOSSES
    ),
    needs=(Balancer, Kill, Database),
    values=balanced.VALUES,
    replicas=balanced.REPLICAS,
    entrance="service",
    on_compose=True,
    bound_s=balanced.BOUND_S,
)

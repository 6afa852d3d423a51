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

from msgspec.structs import replace

from seatrial.cluster.ability import Balancer, Database, Kill, Partition
from seatrial.drill import Drill
from seatrial.fault.balancer import LoseServer
from seatrial.scenario import balanced
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear_starts

LOSSES = 4
#: all at once, so that the server has some in hand that are committed and not yet answered
BURST_STARTS = 200
INTO_BURST_S = 0.2
DEAF_S = 0.1


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": balanced.starts(rng),
        "servers": [f"replica-{rng.randrange(balanced.REPLICAS)}" for _ in range(LOSSES)],
        "bursts": [
            [
                replace(start, key=f"burst-{number}-{start.key}")
                for start in linear_starts(rng, 1, BURST_STARTS)
            ]
            for number in range(LOSSES)
        ],
        "before_s": [round(rng.uniform(0.5, 1.5), 3) for _ in range(LOSSES)],
        "away_s": [round(rng.uniform(1.0, 2.0), 3) for _ in range(LOSSES)],
    }


async def scenario(context: ScenarioContext) -> None:
    schedule = context.schedule
    async with balanced.through_balancer(context):
        for server, burst, before_s, away_s in zip(
            *(schedule[name] for name in ("servers", "bursts", "before_s", "away_s")), strict=True
        ):
            await asyncio.sleep(before_s)
            starts = context.spawn(context.load(burst, in_flight_max=balanced.STARTS_IN_FLIGHT))
            await asyncio.sleep(INTO_BURST_S)
            await context.fault(LoseServer(server, DEAF_S), hold_s=away_s)
            await starts


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
    needs=(Balancer, Kill, Partition, Database),
    values=balanced.VALUES,
    replicas=balanced.REPLICAS,
    entrance="service",
    on_compose=True,
    bound_s=balanced.BOUND_S,
)

"""F7: the leader of the relay is killed twenty times in a row, and each takeover is timed.

Each killed replica is started again while its successor leads, so two of three are up at most times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.drill import Drill
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    VALUES,
    another_leads,
    parameters,
    relayed_starts,
    to_the_end,
    under_load,
)

KILLS = 20
STARTS = 240
LOAD_S = 50.0
LEADS_FOR_S = (0.3, 1.0)
TAKEOVER_P95_BOUND_S = 1.0
TAKEOVER_BOUND_S = 5.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": relayed_starts(rng, STARTS, LOAD_S),
        "leads_for_s": [round(rng.uniform(*LEADS_FOR_S), 3) for _ in range(KILLS)],
    }


async def scenario(context: ScenarioContext) -> None:
    load = await under_load(context)
    context.phase("fault")
    for leads_for_s in context.schedule["leads_for_s"]:
        leader = await context.leader()
        await asyncio.sleep(leads_for_s)
        async with context.inflicted(KillReplica(leader)):
            await another_leads(context, leader)
    await to_the_end(context, load)


DRILL = Drill(
    id="F7",
    title="Twenty leaders of the relay are killed",
    promise="A killed leader is replaced in well under a second, twenty times, and nothing is lost or out of order.",
    checks=CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS,
        faults_min=KILLS,
        takeover_bound_s=TAKEOVER_BOUND_S,
        takeover_p95_bound_s=TAKEOVER_P95_BOUND_S,
        circumstances_min={"leaders_hit": KILLS},
    ),
    needs=NEEDS,
    values=VALUES,
    mode="kafka",
    bound_s=240.0,
)

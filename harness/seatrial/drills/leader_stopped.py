"""F2: the replica that relays is stopped in good order, as every rollout does it; nothing is published twice.

A leader that leaves finishes its batch and gives the lead back, so a standby takes it at its next look.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.drill import Drill
from seatrial.fault.kill import StopReplica
from seatrial.stage import Stage
from seatrial.workload.relay import (
    CHECKS,
    NEEDS,
    VALUES,
    another_leads,
    parameters,
    relayed_starts,
    to_the_end,
    under_load,
)

STARTS = 90
LOAD_S = 6.0
DOWN_S = 1.0
TAKEOVER_BOUND_S = 5.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": relayed_starts(rng, STARTS, LOAD_S), "fault_at_s": round(rng.uniform(1.0, 2.0), 3)}


async def scenario(stage: Stage) -> None:
    load = await under_load(stage)
    await stage.at(stage.schedule["fault_at_s"])
    leader = await stage.leader()
    stage.phase("fault")
    async with stage.inflicted(StopReplica(leader)):
        await another_leads(stage, leader)
        await asyncio.sleep(DOWN_S)
    await to_the_end(stage, load)


DRILL = Drill(
    id="F2",
    title="The relay's leader is stopped in good order",
    promise="A leader that is asked to go hands the relay on and publishes nothing twice.",
    checks=(*CHECKS, "RT"),
    plan=plan,
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS,
        takeover_bound_s=TAKEOVER_BOUND_S,
        republished_max=0,
        circumstances_min={"leaders_hit": 1},
    ),
    needs=NEEDS,
    values=VALUES,
    mode="kafka",
    bound_s=120.0,
)

"""F3: the session that holds the relay's lock is ended again and again (contract 6.4).

A relay that works on other connections than its lock notices the loss at its next ping: until then two replicas
publish, and a later batch can overtake an earlier one (contract 11 row 18). Here the next leader has a new epoch, and
the checks look for anything that the old one removes or publishes afterwards.
"""

from __future__ import annotations

import asyncio

from seatrial.drill import Drill
from seatrial.fault.database import TerminateLeaderSession
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    VALUES,
    one_fault,
    parameters,
    to_the_end,
    under_load,
)

STARTS = 90
LOAD_S = 7.0
CUTS = 3
CUT_EVERY_S = 1.5
TAKEOVER_BOUND_S = 5.0


async def scenario(context: ScenarioContext) -> None:
    load = await under_load(context)
    await context.at(context.schedule["fault_at_s"])
    context.phase("fault")
    for _ in range(CUTS):
        await context.fault(TerminateLeaderSession(await context.leader()))
        await asyncio.sleep(CUT_EVERY_S)
    await to_the_end(context, load)


DRILL = Drill(
    id="F3",
    title="The session of the relay's leader is ended",
    promise="A replica whose lock session ends stops leading: one replica relays at a time, in order (contract 6.4).",
    checks=(*CHECKS, "RT"),
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS,
        faults_min=CUTS,
        takeover_bound_s=TAKEOVER_BOUND_S,
        circumstances_min={"leaders_hit": CUTS},
    ),
    needs=NEEDS,
    values=VALUES,
    mode="kafka",
    on_kind=True,
    core=True,
    bound_s=120.0,
)

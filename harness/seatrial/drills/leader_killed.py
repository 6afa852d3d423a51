"""F1: the replica that relays is killed under load; a standby relays within the bound (contract 6.4).

The session of a killed process ends at once, so the standby need not wait for anything to expire. What the leader had
published but not yet removed is published again with the same dedup id.
"""

from __future__ import annotations

from seatrial.drill import Drill
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    VALUES,
    leader_replaced,
    one_fault,
    parameters,
)

STARTS = 90
LOAD_S = 6.0
DOWN_S = 1.0
TAKEOVER_BOUND_S = 5.0


async def scenario(context: ScenarioContext) -> None:
    await leader_replaced(context, KillReplica, DOWN_S)


DRILL = Drill(
    id="F1",
    title="The relay's leader is killed",
    promise="When the leader dies another replica relays within 5 s, and no job is lost (contract 6.4).",
    checks=(*CHECKS, "RT"),
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS, takeover_bound_s=TAKEOVER_BOUND_S, circumstances_min={"leaders_hit": 1}
    ),
    needs=NEEDS,
    values=VALUES,
    mode="kafka",
    on_kind=True,
    core=True,
    bound_s=120.0,
)

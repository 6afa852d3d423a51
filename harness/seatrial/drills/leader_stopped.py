"""F2: the leader of the relay is shut down gracefully, as in every rollout; nothing is published twice. A leader that
shuts down finishes its batch and gives up the lead, so a standby takes it at its next check.
"""

from __future__ import annotations

from seatrial.drill import Drill
from seatrial.fault.kill import StopReplica
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
    await leader_replaced(context, StopReplica, DOWN_S)


DRILL = Drill(
    id="F2",
    title="The relay's leader is shut down",
    promise="A leader that is shut down hands over the relay and publishes nothing twice.",
    checks=(*CHECKS, "RT"),
    plan=one_fault(STARTS, LOAD_S),
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

"""F6: the leader of the relay is paused for longer than its term and then continues as if nothing had happened.

The paused client of Kleppmann's "How to do distributed locking" (martin.kleppmann.com, 2016) as a leader: it resumes
in the middle of a batch and believes that it still leads. What it had in its client's queue may still leave, under
dedup ids that
its successor has sent as well; nothing else may.
"""

from __future__ import annotations

from seatrial.cluster import Pause
from seatrial.drill import Drill
from seatrial.fault.pause import PauseReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    TERM_S,
    VALUES,
    leader_replaced,
    one_fault,
    parameters,
)

STARTS = 120
LOAD_S = 14.0
STILL_S = 1.0
TAKEOVER_BOUND_S = 5.0


async def scenario(context: ScenarioContext) -> None:
    # Past its own term by any clock, so that it has been replaced when it resumes.
    await leader_replaced(context, PauseReplica, TERM_S + STILL_S)


DRILL = Drill(
    id="F6",
    title="The relay's leader is paused past its term",
    promise="A paused leader is replaced within its term; after it resumes it removes and publishes nothing new.",
    checks=CHECKS,
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS // 2,
        takeover_bound_s=TAKEOVER_BOUND_S,
        circumstances_min={"leaders_hit": 1},
    ),
    needs=(*NEEDS, Pause),
    values=VALUES,
    mode="kafka",
    bound_s=150.0,
)

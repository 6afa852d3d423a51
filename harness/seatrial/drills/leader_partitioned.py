"""F4: the network between the relay's leader and the database drops everything; the node itself is alive and
publishes.

Its session, with the lock, stays in the database until TCP gives up, which takes hours: only a term that ends by the
database's clock lets a standby take over, and only the leader's own clock stops the leader.
"""

from __future__ import annotations

from functools import partial

from seatrial.cluster import Partition
from seatrial.drill import Drill
from seatrial.fault.partition import CutNetwork
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
LOAD_S = 9.0
AFTER_S = 1.5
TAKEOVER_BOUND_S = 5.0
#: calls that reach the cut replica wait for its database until they are given up
ALLOWED = [0, 503, 504]


async def scenario(context: ScenarioContext) -> None:
    await leader_replaced(context, partial(CutNetwork, mode="blackhole"), AFTER_S)


DRILL = Drill(
    id="F4",
    title="The relay's leader is cut off from the database",
    promise="A leader that is cut off from the database is replaced within its term and stops relaying.",
    checks=CHECKS,
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS // 2,
        takeover_bound_s=TAKEOVER_BOUND_S,
        error_statuses_allowed=ALLOWED,
        circumstances_min={"leaders_hit": 1},
    ),
    needs=(*NEEDS, Partition),
    values=VALUES,
    mode="kafka",
    bound_s=150.0,
)

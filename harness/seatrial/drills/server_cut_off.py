"""C2: one of the servers behind a balancer loses the database, and goes on listening.

Its port answers, so a balancer that only looks whether a server is there sends it every second call. It has to be asked
whether it is ready, and what it refuses meanwhile may be sent to the other only if that changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Balancer, Database, Kill, Partition
from seatrial.drill import Drill
from seatrial.fault.balancer import CutOffServer
from seatrial.scenario import balanced
from seatrial.scenario.context import ScenarioContext

#: until the server notices that its database is silent; calls that it has taken wait as long
NOTICED_WITHIN_S = 5.0
#: a call that gets to this server although it was noticed has the time to fail before the heal saves it
HOLD_S = NOTICED_WITHIN_S + balanced.CALL_TIMEOUT_S + 5.0
#: starts that this server has taken hold their places until they time out; enough are left for the other server
STARTS_IN_FLIGHT = int(balanced.STARTS_PER_S * balanced.CALL_TIMEOUT_S)


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": balanced.starts(rng),
        "server": f"replica-{rng.randrange(balanced.REPLICAS)}",
    }


async def scenario(context: ScenarioContext) -> None:
    async with balanced.through_balancer(context, in_flight_max=STARTS_IN_FLIGHT):
        await context.fault(CutOffServer(context.schedule["server"]), hold_s=HOLD_S)


DRILL = Drill(
    id="C2",
    title="A server behind the balancer loses the database",
    promise="A server that cannot serve gets no calls: callers of a balancer are served by the others.",
    checks=balanced.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=balanced.parameters(
        recovery_bound_s=NOTICED_WITHIN_S,
        # It is cut off for longer, and nobody hears of it any more.
        errors_within_s=NOTICED_WITHIN_S,
        error_statuses_allowed=[0, 503, 504],
        faults_min=1,
    ),
    needs=(Balancer, Kill, Partition, Database),
    values=balanced.VALUES,
    replicas=balanced.REPLICAS,
    entrance="service",
    bound_s=balanced.BOUND_S,
)

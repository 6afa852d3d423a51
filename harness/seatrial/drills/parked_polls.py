"""N2: as many long polls as a node has connections. Each of them is idle and within its rights, but where they take all
there are, a kubelet's probe is refused: it restarts a healthy pod, whose workers then park at the next one. Completions
have nowhere to go either, and leases lapse. Over gRPC it is the calls of a connection that polls take: a probe on the
same one then waits at its client.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.drill import Drill
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.grpc_parked import GrpcParkedPolls
from seatrial.workload.pressure import ParkedPolls

#: WINDLASS_CONNECTIONS_MAX
POLLS = 2_000
#: some of them are ended for other callers
POLLS_MIN = 1_800
#: more than WINDLASS_GRPC_STREAMS_MAX
GRPC_POLLS = 1_050
WAIT_S = 20.0
#: two thousand polls begin in the same moment, and each looks for a job once
LATENCY_FLOOR_S = 2.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": pressure.small_starts(rng), "polls": POLLS, "grpc_polls": GRPC_POLLS}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(pressure.SMALL)
    (replica,) = context.replicas
    over_grpc = GrpcParkedPolls(replica, GRPC_POLLS, WAIT_S, context.recorder)
    await pressure.through_pressure(context, ParkedPolls(replica, POLLS, WAIT_S), over_grpc)


DRILL = Drill(
    id="N2",
    title="Two thousand long polls, and probes",
    promise="However many polls wait, each probe is answered in its time and completions are taken.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(
        circumstances_min={"callers_pressed": POLLS_MIN}, latency_floor_s=LATENCY_FLOOR_S
    ),
    needs=pressure.NEEDS,
    values=pressure.VALUES,
    replicas=1,
    restart=True,
    bound_s=pressure.BOUND_S,
)

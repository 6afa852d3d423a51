"""N1: a flood of large starts beside small ones. Where bodies are read, parsed and written without a budget, a few
callers within every limit of size take all the memory that a pod has; the kernel ends it, its callers move to the next
one, and so on. Where batches are bounded by their number alone, a small start waits for all the large ones beside it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.drill import Drill
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.grpc_flood import GrpcFlood, large_messages
from seatrial.workload.pressure import Flood

#: within WINDLASS_BODY_BYTES_MAX
BODY_BYTES = 15_000_000
AT_ONCE = 8
GRPC_AT_ONCE = 4
SENT_BYTES_MIN = 8 * BODY_BYTES
#: PostgreSQL works for seconds on each large start, one of each node at a time: on two cores these take both
LATENCY_FLOOR_S = 1.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": pressure.small_starts(rng), "order": rng.sample(range(4), 4), "body_bytes": BODY_BYTES}


async def scenario(context: ScenarioContext) -> None:
    bodies = pressure.large_bodies(context.random("bodies"), BODY_BYTES)
    ordered = [bodies[number] for number in context.schedule["order"]]
    await context.upload(pressure.SMALL, pressure.LARGE)
    messages = large_messages(pressure.LARGE_ID, BODY_BYTES)
    floods = [Flood(replica, AT_ONCE, ordered) for replica in context.replicas]
    over_grpc = [GrpcFlood(replica, GRPC_AT_ONCE, messages) for replica in context.replicas]
    await pressure.through_pressure(context, *floods, *over_grpc)


DRILL = Drill(
    id="N1",
    title="A flood of large starts beside small ones",
    promise="Large starts, as many at once as anybody likes, neither end a node nor slow down the small ones.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(
        circumstances_min={"bytes_pressed": SENT_BYTES_MIN}, latency_floor_s=LATENCY_FLOOR_S
    ),
    needs=pressure.NEEDS,
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

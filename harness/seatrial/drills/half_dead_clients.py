"""N3: clients that send nearly all of a large body and then a byte a second, that ask and never read, that go away in
the middle of a body and leave the connection open. Each holds what others need; where the newcomer is refused instead
of who holds longest and sends least, a few of them are enough to refuse everybody's calls.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from seatrial.drill import Drill
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.half_dead import HalfClosed, SlowBody, UnreadAnswer

#: just below WINDLASS_BODY_BYTES_MAX
BODY_BYTES = 16_700_000
LARGE_BODIES = 17
#: they fill what room the large ones leave, down to that of a small start
SMALLER_BODIES = [BODY_BYTES >> halvings for halvings in range(1, 17)]
MISSING_BYTES = 64
HALF_CLOSED = 4
UNREAD = 8
#: honest starts that need room of the kind that the slow ones hold; so few that no percentile is of them
MEDIUM = 5
MEDIUM_BYTES = 150_000
MEDIUM_FROM_S = pressure.QUIET_S + 5.0
#: of two hundred and more megabytes that come in, the node's loop reads some milliseconds' worth at a time
LATENCY_FLOOR_S = 1.0
#: what the lists are of that nobody reads
LISTED = 20
LISTED_BYTES = 100_000


def plan(rng: random.Random) -> Mapping[str, Any]:
    starts = list(pressure.small_starts(rng))
    late = [number for number, start in enumerate(starts) if start.at_s > MEDIUM_FROM_S]
    for number in rng.sample(late, MEDIUM):
        starts[number] = replace(starts[number], variables={"note": "x" * MEDIUM_BYTES})
    return {
        "starts": starts,
        "replica": rng.randrange(pressure.REPLICAS),
        "body_bytes": BODY_BYTES,
    }


async def scenario(context: ScenarioContext) -> None:
    sizes = [BODY_BYTES] * LARGE_BODIES + SMALLER_BODIES
    bodies = [b"{" + b" " * (size - 2) + b"}" for size in sizes]
    replica = context.replicas[context.schedule["replica"]]
    await context.upload(pressure.SMALL, pressure.LARGE)
    await pressure.started_large(context, LISTED, LISTED_BYTES)
    await pressure.through_pressure(
        context,
        SlowBody(replica, bodies, missing_bytes=MISSING_BYTES),
        HalfClosed(replica, HALF_CLOSED, bodies[-1]),
        UnreadAnswer(replica, UNREAD),
    )


DRILL = Drill(
    id="N3",
    title="Slow and half-dead clients",
    promise="Whoever sends slowly, reads nothing or leaves half-way takes nothing from those who do not.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(
        circumstances_min={"bytes_pressed": LARGE_BODIES * BODY_BYTES // 4, "callers_pressed": LARGE_BODIES},
        latency_floor_s=LATENCY_FLOOR_S,
    ),
    needs=pressure.NEEDS,
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

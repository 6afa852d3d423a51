"""N4: a dashboard that asks for list after list of instances with large variables, and for their histories. The
default page of a list says how many instances it has, not how many bytes: a handful of callers that ask for nothing
unusual make a node hold several hundred megabytes each.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seatrial.drill import Drill
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.pressure import Dashboard

LISTED = 20
LISTED_BYTES = 3_000_000
AT_ONCE = 4
READ_BYTES_MIN = 20_000_000


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": pressure.small_starts(rng), "order": rng.sample(range(4), 4)}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(pressure.SMALL, pressure.LARGE)
    ids = await pressure.started_large(context, LISTED, LISTED_BYTES)
    dashboards = [
        Dashboard(replica, AT_ONCE, _paths(ids, context.schedule["order"])) for replica in context.replicas
    ]
    await pressure.through_pressure(context, *dashboards)


def _paths(ids: Sequence[str], order: Sequence[int]) -> Callable[[], str]:
    """What is asked for next, in the order drawn, for ever."""
    instances = itertools.cycle(ids)

    def all_of_them() -> Sequence[str]:
        return (
            "/v1/instances",
            f"/v1/instances?definitionId={pressure.LARGE_ID}",
            "/v1/instances?status=COMPLETED&pageSize=200",
            f"/v1/instances/{next(instances)}/history",
        )

    turns = itertools.cycle(order)
    return lambda: all_of_them()[next(turns)]


DRILL = Drill(
    id="N4",
    title="A list-happy dashboard beside load",
    promise="Lists and histories of large instances, again and again, neither end a node nor slow down its load.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(circumstances_min={"bytes_pressed": READ_BYTES_MIN}),
    needs=pressure.NEEDS,
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

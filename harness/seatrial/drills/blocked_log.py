"""N5: whoever reads a node's log stops reading, as a stuck log collector does. The pipe is full after a few calls;
where a line is written by whoever answers calls, nothing answers any more, not even a probe.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Kill, LogReader
from seatrial.drill import Drill
from seatrial.fault.log_reader import StopLogReader
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": pressure.small_starts(rng), "replica": f"replica-{rng.randrange(pressure.REPLICAS)}"}


async def scenario(context: ScenarioContext) -> None:
    replica = context.schedule["replica"]
    await context.ability(LogReader).attach(replica)
    await context.upload(pressure.SMALL)
    await pressure.through_pressure(context, fault=StopLogReader(replica))


DRILL = Drill(
    id="N5",
    title="A reader of the log that stops",
    promise="A node whose log nobody reads answers everything as before.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(faults_min=1),
    needs=(*pressure.NEEDS, LogReader, Kill),
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

"""N6: a user task with two timers that do not interrupt it and lead back to it. Each time they fire there are three
times as many tasks as before; nobody wrote a loop that a limit of steps would see. The instance has to end with a
reason, and the others must not notice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.drill import Drill
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Start, Workload

DOOMED = "doomed"
REASON = "steps of the instance wait already"
INSTANCES = 2
_TIMER: Mapping[str, Any] = {
    "type": "TIMER",
    "duration": "PT1S",
    "interrupting": False,
    "targetStepId": "review",
}
DOUBLING = Workload(
    name="doubling",
    definitions=(
        {
            "id": "doubling",
            "name": "Two reminders that lead back",
            "steps": [
                {
                    "id": "review",
                    "name": "Review",
                    "type": "USER_TASK",
                    "nextStep": "done",
                    "boundaryEvents": [_TIMER, _TIMER],
                },
                {"id": "done", "name": "Done", "type": "END"},
            ],
        },
    ),
    handlers={},
    visits=lambda _start: {"review": 1},
)


def plan(rng: random.Random) -> Mapping[str, Any]:
    doubling = [
        Start("doubling", f"doubling-{number}", {DOOMED: True}, pressure.QUIET_S)
        for number in range(INSTANCES)
    ]
    return {"starts": sorted([*pressure.small_starts(rng), *doubling], key=lambda start: start.at_s)}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(pressure.SMALL, DOUBLING)
    await pressure.through_pressure(context)


DRILL = Drill(
    id="N6",
    title="Timers that multiply their own task",
    promise="An instance whose open steps multiply ends FAILED with its cause, and the others do not notice.",
    checks=("MEM", "LAT", "PT", "NL", "LX", "FN", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(
        doomed_variable=DOOMED, doomed_reason=REASON, circumstances_min={"instances_doomed": INSTANCES}
    ),
    needs=pressure.NEEDS,
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

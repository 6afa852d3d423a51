"""D7: the next release boots while somebody reads the table that its migration changes, in one long transaction.

PostgreSQL lets nobody pass a migration that waits for a table, so the engines that serve would stand still until the
reader is gone. The migration has to step aside again and again, and must say for whom it waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Boots, Database, NextRelease
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.database import READER, ReadWithoutEnd
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 160
LOAD_S = 16.0
READ_S = 11.0
#: the migration may stand in everybody's way for about a second at a time
RECOVERY_BOUND_S = 5.0
BOOT_BOUND_S = 60.0
WORKERS = 2
LEASE_S = 10
DRAIN_S = 25.0
TOLD = ("migrate: waiting for a lock", READER, "migrate: applied", "engine: REST listening")


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "boot_at_s": round(rng.uniform(1.0, 1.5), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    values = context.ability(NextRelease).values()
    async with working(
        context,
        (LINEAR,),
        LINEAR.worker(lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear",),
        fault_at="boot_at_s",
        drain_s=DRAIN_S,
    ):
        async with context.inflicted(ReadWithoutEnd("job")):
            case = "the next release, behind a reader"
            boot = context.spawn(context.boot(case, values, TOLD, bound_s=BOOT_BOUND_S, serves=True))
            await asyncio.sleep(READ_S)
        await boot


DRILL = Drill(
    id="D7",
    title="A migration behind a lock",
    promise="A migration that has to wait says for whom, the engines that serve go on, and it ends with the wait.",
    checks=("BC", "RT", "NL", "NP", "LX", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": RECOVERY_BOUND_S,
        "error_statuses_allowed": [],
        "faults_min": 1,
        "ops_min": STARTS,
    },
    needs=(Database, Boots, NextRelease),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    replicas=2,
    bound_s=120.0,
)

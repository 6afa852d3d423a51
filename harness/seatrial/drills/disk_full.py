"""D5: the database's disk is full: first no table can grow, then the write-ahead log cannot either.

PostgreSQL refuses what needs a new page, and goes on with the rest; without space for its log it panics and stays away
until somebody makes room. Callers get 503 while it lasts, and what was acknowledged is there afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Disk, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.database import FillDisk, FillDiskUnderLog
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import watch_probes, working
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 500
LOAD_S = 17.0
FREE_BYTES = 96 << 20
FULL_S = 5.0
PANIC_S = 2.0
NOTICE_BOUND_S = 1.5
RECOVERY_BOUND_S = 5.0
PROBE_EVERY_S = 0.4
WORKERS = 2
LEASE_S = 3
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "full_at_s": round(rng.uniform(1.0, 1.5), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.ability(Disk).limit(FREE_BYTES)
    watch_probes(context, PROBE_EVERY_S)
    async with working(
        context,
        (LINEAR,),
        LINEAR.worker(lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear",),
        fault_at="full_at_s",
        drain_s=DRAIN_S,
    ):
        await context.fault(FillDisk(), hold_s=FULL_S)
        await context.fault(FillDiskUnderLog(), hold_s=PANIC_S)


DRILL = Drill(
    id="D5",
    title="The database's disk is full",
    promise="Nothing acknowledged is lost when the disk is full, and 5 s after there is space all goes on.",
    checks=("PT", "NL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "recovery_after_heal_bound_s": RECOVERY_BOUND_S,
        "probe_notice_bound_s": NOTICE_BOUND_S,
        "unready_reasons": {FillDiskUnderLog.name: "database"},
        # 409: a lease expired meanwhile; 0: a call took longer than its caller waits.
        "error_statuses_allowed": [0, 409, 503],
        "errors_only_during_fault": True,
        "faults_min": 2,
        "ops_min": STARTS // 4,
        "circumstances_min": {"calls_refused": 10},
    },
    needs=(Database, Disk, Kill),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    bound_s=120.0,
)

"""D4: the database takes no writes for ten seconds, as an operator or the guard of a full disk makes it.

Reads are as good as before, so a readiness that only reads stays true, and callers meet the refusals one by one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.database import MakeReadOnly
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import watch_probes, working
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 160
LOAD_S = 17.0
READ_ONLY_S = 10.0
NOTICE_BOUND_S = 2.5
RECOVERY_BOUND_S = 5.0
PROBE_EVERY_S = 0.4
WORKERS = 2
LEASE_S = 3
DRAIN_S = 25.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "read_only_at_s": round(rng.uniform(1.0, 1.5), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    watch_probes(context, PROBE_EVERY_S)
    async with working(
        context,
        (LINEAR,),
        LINEAR.worker(lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear",),
        fault_at="read_only_at_s",
        drain_s=DRAIN_S,
        readers=1,
    ):
        await context.fault(MakeReadOnly(), hold_s=READ_ONLY_S)


DRILL = Drill(
    id="D4",
    title="The database takes no writes for ten seconds",
    promise="While writes are refused every replica is unready and says why; afterwards all goes on within 5 s.",
    checks=("PT", "NL", "NP", "RY", "S1x", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "recovery_after_heal_bound_s": RECOVERY_BOUND_S,
        "probe_notice_bound_s": NOTICE_BOUND_S,
        "unready_reasons": {MakeReadOnly.name: "takes no writes"},
        # 409: a lease expired meanwhile.
        "error_statuses_allowed": [409, 503],
        "errors_only_during_fault": True,
        "faults_min": 1,
        "ops_min": STARTS // 4,
        "circumstances_min": {"calls_refused": 10},
    },
    needs=(Database, Kill),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    bound_s=120.0,
)

KAFKA = DRILL.through_broker(
    title="The database takes no writes for ten seconds, jobs through Kafka",
    promise="The relay waits while it may remove no row, publishes nothing in vain, and goes on afterwards.",
    checks=("PT", "NL", "NP", "S1x", "OC", "PO", "LD", "RT", "LV", "AV"),
)

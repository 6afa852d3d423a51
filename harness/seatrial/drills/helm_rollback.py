"""U4: upgrade, then `helm rollback` across the migration, both under load.

All operators rely on it and no chart that we read tries it. evoila/meho#1607 and airflow-helm/charts#461 are rollbacks
dead on arrival, because the database was ahead. Migrations add first and remove a release later, and readiness accepts
a database that is ahead, so the old release serves on the new schema and finishes what the new one began.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import RollBackRelease, UpgradeRelease
from seatrial.stage import Stage
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts
from seatrial.yard import environment

REPLICAS = 2
LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 2_000
LOAD_S = 200.0
STARTS_MIN = 200
SETTLE_S = 1.0
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
#: most of it is for a busy machine
STALL_BOUND_S = 5.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S)}


async def scenario(stage: Stage) -> None:
    await stage.upload(LINEAR)
    stage.workers.start(LINEAR.worker(lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S), 1)
    done = asyncio.Event()
    stage.phase("load")
    load = stage.spawn(stage.load(until(done, stage.schedule["starts"])))
    await stage.at(SETTLE_S)
    await stage.fault(UpgradeRelease("next"), hold_s=SETTLE_S)
    await stage.fault(RollBackRelease(), hold_s=SETTLE_S)
    done.set()
    await load
    stage.phase("drain")
    await stage.drain(DRAIN_S)


DRILL = Drill(
    id="U4",
    title="Helm rollback across a migration",
    promise="The old release serves on the new schema after a rollback and finishes what was in flight; no call fails.",
    checks=("RO", "AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STALL_BOUND_S,
        "ready_min": REPLICAS,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 2,
        "ops_min": STARTS_MIN,
    },
    needs=(Upgrade, Database),
    values={
        "migrations": {"enabled": True},
        **environment(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    },
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=230.0,
)

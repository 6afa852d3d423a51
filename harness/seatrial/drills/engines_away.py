"""K3: every engine is down when the workers have finished their jobs and report it.

The SDKs' Kafka runners log a failed completion and commit the offset all the same, so nobody will ever send that
message again, against the promise of at least once (contract 10.4). Only the engine can repair this, by a deadline in
its database. One worker drops the answer as Go's runner does; the other then sends a fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.kill import KillAllReplicas
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

WORK = linear(1, name="patient", handler=Handler(think_min_s=0.8, think_max_s=1.2))
STARTS = 16
REDELIVERY_S = 4.0
#: longer than a handler runs, so that the answer to every message in hand is lost
AWAY_S = 1.5
DRAIN_S = 60.0
AT_WORK_WITHIN_S = 40.0
DONE_MIN = 2
LEFT_MIN = 6


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 1, STARTS, over_s=0.3, name="patient")}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    context.workers.start(WORK.worker())
    context.workers.start(WORK.worker(fails_after_lost_complete=True))
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    await context.eventually(
        lambda: _both_at_work(context), AT_WORK_WITHIN_S, "the workers are busy with their jobs"
    )
    context.phase("fault")
    async with context.inflicted(KillAllReplicas()):
        await asyncio.sleep(AWAY_S)
    context.phase("heal")
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _both_at_work(context: ScenarioContext) -> bool:
    """Each has done a job and has some left, so each is now working on one."""
    ((done, left),) = await context.query(
        "SELECT count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status <> 'COMPLETED') "
        "FROM workflow_instance"
    )
    return bool(done >= DONE_MIN and left >= LEFT_MIN)


DRILL = Drill(
    id="K3",
    title="No engine is running when the workers answer",
    promise="At least once (contract 6.7): a job whose completion was lost is sent again, its offset committed or not.",
    checks=("NL", "LV", "OC", "PO", "LD", "NP", "S1x", "DB", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "recovery_bound_s": 20,
        "error_statuses_allowed": [0],
        "errors_only_during_fault": True,
        "faults_min": 1,
        "ops_min": STARTS,
        "circumstances_min": {"answers_lost": 1},
    },
    needs=(Database, Broker, Kill),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="kafka",
    core=True,
    bound_s=150.0,
)

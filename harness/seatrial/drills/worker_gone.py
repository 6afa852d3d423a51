"""K6: workers take messages and never come back, and for a while the group is empty.

One acknowledges before it works and dies: the broker will not hand out its messages again, so only the engine can send
the jobs again. One completes its jobs, acknowledges nothing and dies: its messages are delivered to the next worker,
which must be told that the jobs are done. The last worker behaves correctly, and gets everything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

TAKEN = linear(1, name="taken")
SEEN = linear(1, name="seen")
STARTS_EACH = 12
REDELIVERY_S = 5.0
SESSION_S = 2.0
EMPTY_S = 1.0
IN_HAND_WITHIN_S = 20.0
DRAIN_S = 60.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": [
            *linear_starts(rng, 1, STARTS_EACH, name="taken"),
            *linear_starts(rng, 1, STARTS_EACH, name="seen"),
        ]
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(TAKEN, SEEN)
    (hasty,) = context.workers.start(
        TAKEN.worker(
            handlers=dict.fromkeys(TAKEN.handlers, Handler(hold=True)),
            acknowledges="early",
            session_timeout_s=SESSION_S,
        )
    )
    (forgetful,) = context.workers.start(SEEN.worker(acknowledges="never", session_timeout_s=SESSION_S))
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])

    async def has_seen_all() -> bool:
        rows = await context.query(
            "SELECT count(*) FROM workflow_instance WHERE definition_id = 'seen-1' AND status = 'COMPLETED'"
        )
        return bool(rows[0][0] == STARTS_EACH)

    await context.eventually(has_seen_all, IN_HAND_WITHIN_S, "the forgetful worker has completed its jobs")
    context.phase("fault")
    await context.workers.kill(hasty)
    await context.workers.kill(forgetful)
    # Longer than the groups need to notice, so that they are empty.
    await asyncio.sleep(SESSION_S + EMPTY_S)
    context.workers.start(
        TAKEN.worker(handlers={**TAKEN.handlers, **SEEN.handlers}, session_timeout_s=SESSION_S)
    )
    context.phase("drain")
    await context.workers_joined()
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="K6",
    title="Workers take messages and never come back",
    promise="A worker that acknowledges too early, or never, loses no job and completes none twice (contract 6.7).",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "republished_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 2,
        "ops_min": 2 * STARTS_EACH,
        "circumstances_min": {"redeliveries": 1, "deliveries_moved": 1},
    },
    needs=(Database, Broker),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="kafka",
    bound_s=150.0,
)

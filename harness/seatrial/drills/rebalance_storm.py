"""K4: workers come and go: one joins, one stands still until its group has given it up, one is killed, one leaves.

Each change moves partitions (cooperative-sticky), and what was in hand and uncommitted comes to somebody else. The SDKs
remember a dedup id before they know the outcome (drills.md R4), so a redelivery must have a new one or be lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Kafka
from seatrial.drill import Drill
from seatrial.stage import Stage
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts
from seatrial.yard import environment

WORK = linear(2, name="stormy", handler=Handler(think_min_s=0.3, think_max_s=0.6))
STARTS = 60
LOAD_S = 8.0
SESSION_S = 2.0
#: until the group has noticed, and a little
PAUSE_S = 4.0
REDELIVERY_S = 6.0
DRAIN_S = 60.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S, name="stormy"),
        "gaps_s": [round(rng.uniform(0.5, 1.2), 3) for _ in range(4)],
    }


async def scenario(stage: Stage) -> None:
    await stage.upload(WORK)
    spec = WORK.worker(session_timeout_s=SESSION_S)
    still, victim, leaver = stage.workers.start(spec, 3)
    await stage.workers_joined()
    stage.phase("load")
    load = stage.spawn(stage.load(stage.schedule["starts"]))
    gaps_s = iter(stage.schedule["gaps_s"])
    stage.phase("fault")
    await asyncio.sleep(next(gaps_s))
    await stage.workers.pause(still)
    stage.workers.start(spec)
    await asyncio.sleep(next(gaps_s))
    await stage.workers.kill(victim)
    await asyncio.sleep(PAUSE_S)
    await stage.workers.resume(still)
    stage.workers.restart(victim)
    await asyncio.sleep(next(gaps_s))
    await stage.workers.stop(leaver)
    stage.phase("heal")
    await load
    stage.phase("drain")
    await stage.drain(DRAIN_S)


DRILL = Drill(
    id="K4",
    title="Workers come and go",
    promise="Whatever the groups do, each job is completed once, and each further delivery of it has its reason.",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "recovery_bound_s": 20,
        "republished_max": 0,
        "error_statuses_allowed": [0],
        "faults_min": 2,
        "ops_min": STARTS,
        "circumstances_min": {"deliveries_moved": 1},
    },
    needs=(Database, Kafka),
    values=environment(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="kafka",
    bound_s=180.0,
)

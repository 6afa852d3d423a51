"""K4: workers come and go: one joins, one is paused until its group has removed it, one is killed, one leaves. Each
change moves partitions (cooperative-sticky), and uncommitted messages come to another worker. The SDKs
remember a dedup id before they know the outcome (contract 10.4), so a redelivery must have a new one or be lost.
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

WORK = linear(2, name="stormy", handler=Handler(think_min_s=0.3, think_max_s=0.6))
STARTS = 60
LOAD_S = 8.0
SESSION_S = 2.0
#: until the group has noticed, plus a margin
PAUSE_S = 4.0
REDELIVERY_S = 6.0
DRAIN_S = 60.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S, name="stormy"),
        "gaps_s": [round(rng.uniform(0.5, 1.2), 3) for _ in range(4)],
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    spec = WORK.worker(session_timeout_s=SESSION_S)
    still, victim, leaver = context.workers.start(spec, 3)
    await context.workers_joined()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    gaps_s = iter(context.schedule["gaps_s"])
    context.phase("fault")
    await asyncio.sleep(next(gaps_s))
    await context.workers.pause(still)
    context.workers.start(spec)
    await asyncio.sleep(next(gaps_s))
    await context.workers.kill(victim)
    await asyncio.sleep(PAUSE_S)
    await context.workers.resume(still)
    context.workers.restart(victim)
    await asyncio.sleep(next(gaps_s))
    await context.workers.stop(leaver)
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="K4",
    title="Workers come and go",
    promise="However often the groups rebalance, each job is completed once, and each repeated delivery has a reason.",
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
    needs=(Database, Broker),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="kafka",
    bound_s=180.0,
)

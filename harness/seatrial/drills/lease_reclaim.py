"""L1 and L7: workers die while they hold leases; other workers have their jobs within one lease and one sweep.

With the defaults a crashed worker's job is claimable again 30 to 45 s after its claim (contract 5.5). Here lease and
sweep are short, and the time from expiry to the next lease is judged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from seatrial.cluster.ability import Database
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2)
STARTS = 240
LOAD_S = 8.0
LEASE_S = 3
SWEEP_S = 1
SURVIVORS = 1
SURVIVOR_SLOTS = 24
VICTIMS = 2
VICTIM_SLOTS = 8
VICTIM_THINKS_S = (0.6, 1.2)
LEASES_AT_DEATH_MIN = 4
BUSY_WITHIN_S = 10.0
DRAIN_S = 20.0

#: of the sweep's one second; the rest is for a busy machine
RECLAIM_BOUND_S = 4.0
LONGER_LEASE_S = 8
#: what an operator is told of it: the job is back 10 s after the worker took it
LONGER_RECLAIM_BOUND_S = 2.0


#: a worker of Kafka's takes one message at a time of each type
KAFKA_STARTS = 50


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "deaths_s": sorted(round(rng.uniform(1.5, 5.0), 3) for _ in range(VICTIMS)),
    }


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return {**plan(rng), "starts": linear_starts(rng, 2, KAFKA_STARTS, over_s=LOAD_S)}


async def scenario(context: ScenarioContext) -> None:
    lease_s = context.parameters["lease_s"]
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(slots=SURVIVOR_SLOTS, lease_s=lease_s), SURVIVORS)
    slow = Handler(*VICTIM_THINKS_S)
    victims = context.workers.start(
        LINEAR.worker(slots=VICTIM_SLOTS, lease_s=lease_s, handlers=dict.fromkeys(LINEAR.handlers, slow)),
        VICTIMS,
    )
    await context.workers_joined()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    for victim, death_s in zip(victims, context.schedule["deaths_s"], strict=True):
        await context.at(death_s)
        await kill_with_leases_in_hand(context, victim)
    for victim in victims:
        context.workers.restart(victim)
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


async def kafka_scenario(context: ScenarioContext) -> None:
    """All of them work long on each job and always have one, so a worker that dies holds a message."""
    await context.upload(LINEAR)
    slow = Handler(*VICTIM_THINKS_S)
    spec = LINEAR.worker(handlers=dict.fromkeys(LINEAR.handlers, slow), session_timeout_s=1.5)
    victims = context.workers.start(spec, VICTIMS)
    context.workers.start(LINEAR.worker(session_timeout_s=1.5), SURVIVORS)
    await context.workers_joined()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    for victim, death_s in zip(victims, context.schedule["deaths_s"], strict=True):
        await context.at(death_s)
        await context.workers.kill(victim)
    for victim in victims:
        context.workers.restart(victim)
    await load
    context.phase("drain")
    await context.drain(2 * DRAIN_S)


async def kill_with_leases_in_hand(context: ScenarioContext, victim: int) -> None:
    """Raises NotReached when it does not get busy."""
    worker_id = context.workers[victim].worker_id

    async def is_busy() -> bool:
        rows = await context.query(
            "SELECT count(*) FROM job WHERE status = 'LOCKED' AND worker_id = %s", worker_id
        )
        return bool(rows[0][0] >= LEASES_AT_DEATH_MIN)

    await context.eventually(is_busy, BUSY_WITHIN_S, f"{worker_id} holds {LEASES_AT_DEATH_MIN} leases")
    await context.workers.kill(victim)


DRILL = Drill(
    id="L1",
    title="A worker dies while it holds leases",
    promise="At least once (contract 5.5): other workers have a killed worker's jobs within one lease and one sweep.",
    checks=("NL", "NP", "LX", "FN", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "reclaim_bound_s": RECLAIM_BOUND_S,
        "recovery_bound_s": LEASE_S + RECLAIM_BOUND_S,
        "error_statuses_allowed": [],
        "ops_min": STARTS,
        "faults_min": VICTIMS,
        "circumstances_min": {"leases_lapsed": VICTIMS * LEASES_AT_DEATH_MIN // 2},
    },
    needs=(Database,),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=1),
    core=True,
    bound_s=90.0,
)

LONGER = replace(
    DRILL,
    id="L7",
    on_compose=True,
    title="A worker dies while it holds leases of eight seconds",
    promise="A killed worker's job is with another 2 s after its lease of 8 s has run out.",
    parameters={
        **DRILL.parameters,
        "lease_s": LONGER_LEASE_S,
        "reclaim_bound_s": LONGER_RECLAIM_BOUND_S,
        "recovery_bound_s": LONGER_LEASE_S + LONGER_RECLAIM_BOUND_S,
    },
    core=False,
)

KAFKA = DRILL.through_broker(
    title="A Kafka worker dies while it holds messages",
    promise="Other workers get a killed worker's messages as soon as its group has noticed (contract 6.2).",
    checks=("NL", "NP", "S1x", "DB", "RT", "OC", "PO", "LV", "AV"),
    plan=smaller_plan,
    scenario=kafka_scenario,
    parameters={
        "ops_min": KAFKA_STARTS,
        "republished_max": 0,
        "error_statuses_allowed": [0],
        "circumstances_min": {"deliveries_moved": 1},
    },
    bound_s=120.0,
)

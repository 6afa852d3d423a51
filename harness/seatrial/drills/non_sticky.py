"""L5: ten thousand jobs with a random replica for every call, and one replica killed meanwhile.

Any node answers any call, because the lease is a durable row (contract 10.3). Here a lease taken at one replica is
completed at another by chance, ten thousand times, and one replica is killed after it has granted leases, and
restarted later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, LiteralString

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, together
from seatrial.workload.linear import linear, linear_starts

STEPS = 3
STARTS = 3_360
JOBS = 10_000
"""A few starts get no answer from the replica that dies, and are not repeated."""
REPLICAS = 3
LOAD_S = 14.0
STARTS_IN_FLIGHT = 32
WORKERS = 2
SLOTS = 64
WAIT_S = 2.0
THINKS = Handler(think_max_s=0.1)
#: a few slow jobs, so that leases of the replica are held when it dies, however long it takes to notice
SLOW = linear(1, name="slow", handler=Handler(think_min_s=2.0, think_max_s=4.0))
SLOW_STARTS = 240
#: of this many, the replica that dies has granted some: each poll goes to one of three and returns two or three
SLOW_HELD_MIN = 24
HELD_WITHIN_S = 30.0
CALL_TIMEOUT_S = 10.0
#: longer than a call may take, so that no live worker loses a lease
LEASE_S = 15
SWEEP_S = 1
DRAIN_S = 90.0
RECOVERY_BOUND_S = 5.0
KAFKA_STARTS = 200
KAFKA_SLOW_STARTS = 12
KAFKA_SLOW_HELD_MIN = 6
KAFKA_SLOW_OVER_S = 2.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, STEPS, STARTS, over_s=LOAD_S),
        "slow": linear_starts(rng, 1, SLOW_STARTS, over_s=LOAD_S, name="slow"),
        "victim": f"replica-{rng.randrange(REPLICAS)}",
        "death_s": round(rng.uniform(4.0, 6.0), 3),
        "away_s": round(rng.uniform(2.0, 3.0), 3),
    }


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    """A Kafka worker does one job of a type at a time."""
    return {
        **plan(rng),
        "starts": linear_starts(rng, STEPS, KAFKA_STARTS, over_s=LOAD_S),
        "slow": linear_starts(rng, 1, KAFKA_SLOW_STARTS, over_s=KAFKA_SLOW_OVER_S, name="slow"),
    }


async def scenario(context: ScenarioContext) -> None:
    await _story(
        context,
        "SELECT count(*) FROM job WHERE job_type = 'slow-step-1' AND status = 'LOCKED'",
        SLOW_HELD_MIN,
    )


async def kafka_scenario(context: ScenarioContext) -> None:
    """There are no leases; jobs that have left the outbox are with the broker or with a worker."""
    await _story(
        context,
        "SELECT count(*) FROM job WHERE job_type = 'slow-step-1' AND status = 'UNLOCKED' "
        "AND NOT EXISTS (SELECT FROM dispatch_outbox WHERE job_id = job.id)",
        KAFKA_SLOW_HELD_MIN,
    )


async def _story(context: ScenarioContext, held: LiteralString, held_min: int) -> None:
    work = linear(STEPS, handler=THINKS)
    await context.upload(work, SLOW)
    spec = together(work, SLOW, slots=SLOTS, lease_s=LEASE_S, wait_s=WAIT_S, call_timeout_s=CALL_TIMEOUT_S)
    context.workers.start(spec, WORKERS)
    await context.workers_joined()
    context.phase("load")
    slow = context.spawn(context.load(context.schedule["slow"]))
    load = context.spawn(context.load(context.schedule["starts"], in_flight_max=STARTS_IN_FLIGHT))
    await context.at(context.schedule["death_s"])

    async def enough_are_held() -> bool:
        ((count,),) = await context.query(held)
        return bool(count >= held_min)

    await context.eventually(enough_are_held, HELD_WITHIN_S, f"{held_min} slow jobs are held")
    async with context.inflicted(KillReplica(context.schedule["victim"])):
        await asyncio.sleep(context.schedule["away_s"])
    await slow
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="L5",
    title="Ten thousand jobs, any replica for any call, one killed",
    promise="Any node answers any call (contract 10.3): a lease outlives the replica that gave it; nothing is lost.",
    checks=("NL", "NP", "LX", "FN", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "recovery_bound_s": RECOVERY_BOUND_S,
        "error_statuses_allowed": [0, 500, 502, 503],
        "errors_only_during_fault": True,
        "ops_min": JOBS,
        "faults_min": 1,
        "circumstances_min": {"leases_completed_elsewhere": JOBS // 3, "leases_orphaned": 1},
    },
    needs=(Kill, Database),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=1),
    replicas=REPLICAS,
    core=True,
    on_compose=True,
    on_kind=True,
    bound_s=180.0,
)

KAFKA = DRILL.through_broker(
    title="Any replica for any completion of a Kafka job, one killed",
    promise="Any node accepts the completion of a job that another dispatched, and nothing is lost when a node dies.",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LD", "RT", "LV", "AV"),
    plan=smaller_plan,
    scenario=kafka_scenario,
    # A replica in kafka mode contacts its broker before it listens.
    parameters={"ops_min": STEPS * KAFKA_STARTS, "recovery_bound_s": 10.0, "circumstances_min": {}},
    bound_s=150.0,
)

"""W1 and W2: nodes that tell each other of jobs by Redis lose it, or have nothing to tell by at all.

Every job is made at one replica and every worker waits at the other, so that no pickup is fast by itself: without
hints a waiting poll finds the job when it looks next, every 0.5 s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.check.probe_truth import READINESS
from seatrial.cluster.ability import Database, Kill, Reconfigure, WakeBus
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.wake_bus import CutWakeBus, StopWakeBus
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear

LINEAR = linear(1)
(JOB_TYPE,) = LINEAR.job_types()
RATE_PER_S = 15
REPLICAS = 2
#: so that at no time all of them are busy with a job
WAITERS = 3
WAIT_S = 3.0
LEASE_S = 15
CUT_AT_S = 3.0
AWAY_S = 3.0
SETTLE_S = 3.0
BETWEEN_S = SETTLE_S + 3.0
LOAD_MIN_S = CUT_AT_S + AWAY_S + BETWEEN_S + AWAY_S + SETTLE_S + 3.0
#: a fault takes longer where containers are stopped and started; the load goes on until the last has settled
LOAD_MAX_S = LOAD_MIN_S + 30.0
QUIET_LOAD_S = 8.0
#: twice the interval at which a waiting poll looks
BOUND_S = 1.0
#: a few hundredths where hints come; half the interval, 0.25 s, where none do
USUAL_S = 0.1
PICKUPS_MIN = 15
PROBE_EVERY_S = 0.4
DRAIN_S = 15.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, LOAD_MAX_S)


def quiet_plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, QUIET_LOAD_S)


def _plan(rng: random.Random, load_s: float) -> Mapping[str, Any]:
    return {"starts": sorted(round(rng.uniform(0.0, load_s), 3) for _ in range(int(load_s * RATE_PER_S)))}


async def scenario(context: ScenarioContext) -> None:
    await context.ability(WakeBus).attach()
    await context.race(context.ability(Reconfigure).reconfigure(name, {}) for name in context.names)
    over = asyncio.Event()
    load = await _begin(context, over)
    await context.at(CUT_AT_S)
    context.phase("fault")
    await context.fault(CutWakeBus(), hold_s=AWAY_S)
    await asyncio.sleep(BETWEEN_S)
    await context.fault(StopWakeBus(), hold_s=AWAY_S)
    context.phase("heal")
    await asyncio.sleep(SETTLE_S + 3.0)
    over.set()
    await _end(context, load)


async def quiet_scenario(context: ScenarioContext) -> None:
    await _end(context, await _begin(context, asyncio.Event()))


async def _begin(context: ScenarioContext, over: asyncio.Event) -> asyncio.Task[None]:
    """`over` ends the load before its last start."""
    await context.upload(LINEAR)
    _, other = context.names
    for name in context.names:
        context.watch(name, READINESS[0], every_s=PROBE_EVERY_S)
    for number in range(WAITERS):
        context.spawn(_work(context, f"waiter-{number}", other))
    context.phase("load")
    return context.spawn(_start_all(context, over))


async def _end(context: ScenarioContext, load: asyncio.Task[None]) -> None:
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _start_all(context: ScenarioContext, over: asyncio.Event) -> None:
    client, first = context.client(), context.names[0]
    for number, at_s in enumerate(context.schedule["starts"]):
        await context.at(at_s)
        if over.is_set():
            return
        key = f"{context.run_key}/{number:04d}"
        await client.start(LINEAR.definitions[0]["id"], {"key": key}, business_key=key, replica=first)


async def _work(context: ScenarioContext, name: str, replica: str) -> None:
    """Waits at one replica, and completes there at once."""
    client = context.worker_client(name)
    while True:
        answer = await client.poll(
            name, [JOB_TYPE], max_jobs=1, lease_s=LEASE_S, wait_s=WAIT_S, replica=replica
        )
        for job in answer.jobs:
            await client.complete(job, name, replica=replica)


CHECKS = ("PK", "NL", "NP", "LX", "S1x", "LV", "AV")
PARAMETERS: Mapping[str, Any] = {
    "lease_s": LEASE_S,
    "lease_sweep_interval_s": 1,
    "pickup_bound_s": BOUND_S,
    "pickups_min": PICKUPS_MIN,
    "error_statuses_allowed": [],
}
VALUES = engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1)

DRILL = Drill(
    id="W1",
    title="Redis interrupted: it cannot be reached, and then it ends",
    promise="Without Redis jobs are picked up within 1 s, and as before within 3 s of its return; nothing is lost.",
    checks=CHECKS,
    plan=plan,
    scenario=scenario,
    parameters={
        **PARAMETERS,
        "pickup_usual_s": USUAL_S,
        "pickup_settle_s": SETTLE_S,
        "faults_min": 2,
        "ops_min": int(LOAD_MIN_S * RATE_PER_S),
    },
    needs=(Database, Kill, Reconfigure, WakeBus),
    values=VALUES,
    replicas=REPLICAS,
    core=True,
    on_compose=True,
    bound_s=120.0,
)

NONE = Drill(
    id="W2",
    title="No wake bus at all",
    promise="Nodes that tell each other nothing lose nothing, and pick up jobs within 1 s.",
    checks=CHECKS,
    plan=quiet_plan,
    scenario=quiet_scenario,
    parameters={**PARAMETERS, "ops_min": int(QUIET_LOAD_S * RATE_PER_S)},
    needs=(Database,),
    values={**VALUES, "engine": {"wakeBus": "none"}},
    replicas=REPLICAS,
    core=True,
    bound_s=120.0,
)

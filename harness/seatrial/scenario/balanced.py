"""Load at the address of a balancer while something behind it is broken: shared by the drills about that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from seatrial.cluster.values import engine_variables
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(1, handler=Handler(think_max_s=0.05))
REPLICAS = 2
#: more than any of these drills takes; the load ends with it
STARTS = 6_000
STARTS_PER_S = 100
STARTS_IN_FLIGHT = 64
WORKERS = 2
SLOTS = 32
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
READERS = 3
READ_EVERY_S = 0.05
FLOWS_WITHIN_S = 30.0
#: traffic is back this long after a server is lost, or the balancer is there again
BACK_WITHIN_S = 2.0
DRAIN_S = 60.0
BOUND_S = 150.0
CHECKS = ("RT", "AV", "NP", "NL", "LX", "FN", "S1x", "DB", "LV")
VALUES = engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1)


def starts(rng: random.Random) -> Any:
    return linear_starts(rng, 1, STARTS, over_s=STARTS / STARTS_PER_S)


def parameters(**more: Any) -> Mapping[str, Any]:
    """503 is the balancer's when nobody answered it, and a server's that lost its database."""
    return {
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "ops_min": 300,
        **more,
    }


@asynccontextmanager
async def through_balancer(
    context: ScenarioContext, *, in_flight_max: int = STARTS_IN_FLIGHT
) -> AsyncIterator[None]:
    """Starts, workers and readers from the start to the end of the block; then all that was started is completed."""
    await context.upload(LINEAR)
    worker = LINEAR.worker(slots=SLOTS, lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S)
    context.workers.start(worker, WORKERS)
    done = asyncio.Event()
    context.phase("load")
    tasks = [
        context.spawn(context.load(until(done, context.schedule["starts"]), in_flight_max=in_flight_max)),
        *(context.spawn(_read(context, done)) for _ in range(READERS)),
    ]
    await context.eventually(lambda: _flows(context), FLOWS_WITHIN_S, "jobs are completed")
    yield
    done.set()
    await asyncio.gather(*tasks)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _read(context: ScenarioContext, done: asyncio.Event) -> None:
    """A connection of its own each time, as a caller that comes for the first time."""
    client = context.one_shot_client()
    rng = context.random(client.process)
    while not done.is_set():
        if context.started:
            await client.get_instance(rng.choice(context.started))
        await asyncio.sleep(READ_EVERY_S)


async def _flows(context: ScenarioContext) -> bool:
    rows = await context.query("SELECT count(*) FROM job WHERE status = 'COMPLETED'")
    return bool(rows[0][0] >= SLOTS)

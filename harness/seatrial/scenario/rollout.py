"""Load through the Service while the release or its machines change: shared by the drills about that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from seatrial.client import RecordingClient
from seatrial.cluster.values import engine_variables
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts

STEPS = 2
LINEAR = linear(STEPS, handler=Handler(think_max_s=0.05))
STARTS = 2_000
#: longer than any change; the load ends with it
LOAD_S = 200.0
FLOWS_WITHIN_S = 30.0
SETTLE_S = 1.0
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
#: A pod closes its kept connections properly, but a caller that opens a new one may reach a pod that stopped before
#: the Service removed it. That may last only a twentieth of a second, so these callers call often, with a cheap call.
ONE_SHOT_CLIENTS = 6
ONE_SHOT_INTERVAL_S = 0.05
#: long, for busy machines
STALL_BOUND_S = 5.0
DRAIN_S = 30.0
BOUND_S = 230.0
CHECKS = ("RO", "AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV")
VALUES = engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1)


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, STEPS, STARTS, over_s=LOAD_S)}


def parameters(*, ready_min: int, faults_min: int, ops_min: int, **more: Any) -> Mapping[str, Any]:
    """No call may fail and no job be done twice, whichever pod is replaced."""
    return {
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STALL_BOUND_S,
        "ready_min": ready_min,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": faults_min,
        "ops_min": ops_min,
        **more,
    }


@asynccontextmanager
async def under_load(context: ScenarioContext, *, workers: int) -> AsyncIterator[None]:
    """The load runs from the start to the end of the block; then everything that was started is completed."""
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S), workers)
    done = asyncio.Event()
    context.phase("load")
    load = context.spawn(context.load(until(done, context.schedule["starts"])))
    (service,) = context.names
    one_shot_calls = [
        context.spawn(_call_once_each(context.one_shot_client(), service, done))
        for _ in range(ONE_SHOT_CLIENTS)
    ]
    await context.eventually(
        lambda: _flows(context, workers), FLOWS_WITHIN_S, "every worker is busy, and no job waits"
    )
    yield
    done.set()
    await asyncio.gather(load, *one_shot_calls)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _call_once_each(client: RecordingClient, service: str, done: asyncio.Event) -> None:
    while not done.is_set():
        await client.probe(service, "/healthz")
        await asyncio.sleep(ONE_SHOT_INTERVAL_S)


async def _flows(context: ScenarioContext, workers: int) -> bool:
    """Jobs that wait afterwards wait because of the change of the release, and not for the start of a worker."""
    rows = await context.query(
        """SELECT count(DISTINCT worker_id) FILTER (WHERE status = 'COMPLETED'),
                  count(*) FILTER (WHERE status = 'UNLOCKED') FROM job"""
    )
    return bool(rows[0][0] >= workers and rows[0][1] == 0)

"""U12: from one replica to four behind a balancer of connections, as a Kubernetes Service is, while callers over gRPC
are connected. Such a caller opens no new connection while it has one, so the new replicas would get nothing; each
connection ends by its age. Long polls outlive it: they end on the old connection, and no lease is lost with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from seatrial.client import RecordingClient
from seatrial.cluster import Replica
from seatrial.cluster.ability import Database, Kill, Service
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.fault.scale import JoinService
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start, WorkerConfig
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.worker import Worker

OFTEN = linear(1, name="often", handler=Handler(think_max_s=0.05))
#: its polls wait longer than a connection may be old
SELDOM = linear(1, name="seldom")
AGE_S = 4
#: a tenth more, which the library adds by chance, and time to connect on a busy machine
SPREAD_WITHIN_S = 1.1 * AGE_S + 2.0
BEFORE_S = 6.0
AFTER_S = SPREAD_WITHIN_S + 14.0
#: longer than replicas take to start; the load ends with it
LOAD_S = 90.0
CALLERS = 12
STARTS_PER_S = 20
SELDOM_EVERY_S = 7.0
OFTEN_WORKERS, SELDOM_WORKERS = 6, 2
POLL_WAIT_S = 12.0
LEASE_S = 15
#: of an equal share: callers come by connections, and each makes as many calls as it has to
SHARE_MIN = 0.3
CALLS_MIN = 300
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    often = linear_starts(rng, 1, round(LOAD_S * STARTS_PER_S), over_s=LOAD_S, name="often")
    count = round(LOAD_S / SELDOM_EVERY_S)
    return {"often": often, "seldom": linear_starts(rng, 1, count, over_s=LOAD_S, name="seldom")}


async def scenario(context: ScenarioContext) -> None:
    first, *new = context.names
    processes = context.ability(Kill)
    await context.upload(OFTEN, SELDOM)
    for name in new:
        assert await processes.stop(name) == 0
    service = await context.ability(Service).open(first)
    context.watch_calls()
    async with _workers(context, service):
        context.phase("load")
        done = asyncio.Event()
        callers = [context.spawn(_call(context, service, number, done)) for number in range(CALLERS)]
        await context.at(BEFORE_S)
        await context.fault(JoinService((first,), tuple(new)))
        await asyncio.sleep(AFTER_S)
        done.set()
        await asyncio.gather(*callers)
        context.phase("drain")
        await context.drain(DRAIN_S)


async def _call(context: ScenarioContext, service: Replica, number: int, done: asyncio.Event) -> None:
    """One client with one connection, which makes its part of the starts."""
    often, seldom = context.schedule["often"], context.schedule["seldom"]
    mine: Sequence[Start] = [*often[number::CALLERS], *seldom[number::CALLERS]]
    async with _client(context, service, f"client-grpc-{number}") as client:
        for start in sorted(mine, key=lambda each: each.at_s):
            await context.at(start.at_s)
            if done.is_set():
                return
            key = f"{context.run_key}/{start.key}"
            await client.start(start.definition_id, {**start.variables, "key": key}, business_key=key)


def _client(context: ScenarioContext, service: Replica, process: str) -> RecordingClient:
    rng = context.random(process)
    return RecordingClient(process, [service], context.recorder, rng, transports=("grpc",))


@asynccontextmanager
async def _workers(context: ScenarioContext, service: Replica) -> AsyncIterator[None]:
    """In this process, since those of the pool know the replicas and not the service."""
    workers = []
    for workload, count in ((OFTEN, OFTEN_WORKERS), (SELDOM, SELDOM_WORKERS)):
        spec = workload.worker(lease_s=LEASE_S, wait_s=POLL_WAIT_S)
        for number in range(count):
            name = f"worker-{workload.name}-{number}"
            seed = f"{context.run_key}:{name}"
            config = WorkerConfig(name, name, seed, (service,), "", spec, ("grpc",))
            workers.append(Worker(config, context.recorder))
    tasks = [context.spawn(worker.run()) for worker in workers]
    yield
    for worker in workers:
        worker.leave()
    await asyncio.gather(*tasks)


DRILL = Drill(
    id="U12",
    title="A scale-out, over gRPC",
    promise="New replicas get their share of the calls within the age of a connection, callers that were connected "
    "before included; no call fails and no lease is lost for it.",
    checks=("SPREAD", "AV", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "spread_within_s": SPREAD_WITHIN_S,
        "spread_share_min": SHARE_MIN,
        "spread_calls_min": CALLS_MIN,
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 1,
        "ops_min": CALLS_MIN,
    },
    needs=(Service, Kill, Database),
    values=merge(
        {"engine": {"grpc": {"connectionAgeSeconds": AGE_S}}},
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    ),
    replicas=4,
    bound_s=150.0,
)

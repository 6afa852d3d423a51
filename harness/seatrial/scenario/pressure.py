"""Small calls at a steady pace, first alone, then beside somebody who asks for too much: shared by the drills about
that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from seatrial.check.probe_truth import LIVENESS, READINESS
from seatrial.client.rest import headers_of
from seatrial.cluster.ability import Database, Restarts
from seatrial.cluster.resources import Resources
from seatrial.cluster.trust import trust_of
from seatrial.cluster.values import engine_variables
from seatrial.fault import Fault
from seatrial.history import OBSERVER
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.workload import Handler, Start, Workload
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.pressure import Pressure

SMALL = linear(1, handler=Handler(think_max_s=0.02), name="small")
#: it ends where it starts, so that nothing but its size is work
LARGE_ID = "large"
LARGE = Workload(
    name=LARGE_ID,
    definitions=(
        {
            "id": LARGE_ID,
            "name": "Ends at once",
            "steps": [{"id": "done", "name": "Done", "type": "END"}],
        },
    ),
    handlers={},
    visits=lambda _start: {"done": 1},
)
REPLICAS = 2
STARTS_PER_S = 30
QUIET_S = 6.0
PRESSED_S = 12.0
LEASE_S = 30
PROBE_EVERY_S = 0.5
#: the chart's, of readiness
PROBE_TIMEOUT_S = 3.0
DRAIN_S = 30.0
BOUND_S = 120.0
CHECKS = ("MEM", "LAT", "PT", "NL", "LX", "FN", "S1x", "LV", "AV")
NEEDS = (Database, Resources, Restarts)
VALUES = engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1)
LATENCY_FLOOR_S = 0.5
"""What is fast enough, however fast it was before: on two cores whoever presses takes processor time, too."""


def small_starts(rng: random.Random, pressed_s: float = PRESSED_S) -> tuple[Start, ...]:
    whole_s = QUIET_S + pressed_s
    return linear_starts(rng, 1, round(STARTS_PER_S * whole_s), over_s=whole_s, name="small")


def parameters(**more: Any) -> Mapping[str, Any]:
    return {
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "latency_calls": ["start", "complete"],
        "latency_factor_max": 3,
        "latency_floor_s": LATENCY_FLOOR_S,
        "probes_min": 20,
        "ops_min": 100,
        **more,
    }


async def through_pressure(
    context: ScenarioContext,
    *sources: Pressure,
    fault: Fault | None = None,
    pressed_s: float = PRESSED_S,
) -> None:
    """The definitions must be there. The fault, if any, holds as long as the sources press. Ends when everything is
    drained, and what is in large instances forgotten.
    """
    context.workers.start(SMALL.worker(lease_s=LEASE_S), 1)
    context.watch_resources()
    for name in context.names:
        for path in (LIVENESS[0], READINESS[0]):
            context.watch(name, path, every_s=PROBE_EVERY_S, timeout_s=PROBE_TIMEOUT_S)
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    context.recorder.info(OBSERVER, "pressure", {"on": False})
    await context.at(QUIET_S)
    context.phase("fault")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pressed(context, sources))
        if fault is not None:
            await stack.enter_async_context(context.inflicted(fault))
        await context.at(QUIET_S + pressed_s)
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)
    await forget_large(context)
    restarts = context.ability(Restarts)
    for name in context.names:
        count = restarts.restarts(name)
        context.recorder.info(OBSERVER, "restarts", {"node": name, "count": count}, name)


@asynccontextmanager
async def pressed(context: ScenarioContext, sources: Sequence[Pressure]) -> AsyncIterator[None]:
    """They press inside the block; then each is recorded with what it did."""
    context.recorder.info(OBSERVER, "pressure", {"on": True})
    tasks = [context.spawn(source.run()) for source in sources]
    try:
        yield
    finally:
        context.recorder.info(OBSERVER, "pressure", {"on": None})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number, source in enumerate(sources):
            context.recorder.info(f"pressure-{number}", "pressed", source.told(), source.replica.name)


async def started_large(context: ScenarioContext, count: int, size_bytes: int) -> Sequence[str]:
    """The ids of so many instances of `LARGE` that have ended; their starts are not recorded. Raises NotReached."""
    body, *_ = large_bodies(context.random("large"), size_bytes)
    ids: list[str] = []
    async with aiohttp.ClientSession() as session:
        for number in range(count):
            replica = context.replicas[number % len(context.replicas)]
            url, headers = f"{replica.rest_url}/v1/instances", headers_of(replica, has_body=True)
            async with session.post(url, data=body, headers=headers, ssl=trust_of(replica)) as response:
                if response.status != HTTPStatus.CREATED:
                    raise NotReached(f"a start of {size_bytes} bytes was answered {response.status}")
                ids.append((await response.json())["id"])
    return ids


async def forget_large(context: ScenarioContext) -> None:
    """What is in large instances is nobody's concern any more, and should not be recorded."""
    await context.query("UPDATE workflow_instance SET variables = '{}' WHERE definition_id = %s", LARGE_ID)


def large_bodies(rng: random.Random, size_bytes: int) -> Sequence[bytes]:
    """Starts of `LARGE`, each with one variable: a text, many empty arrays, many numbers, many small objects."""
    contents = (
        b'"' + b"x" * size_bytes + b'"',
        b"[" + b",".join([b"[]"] * (size_bytes // 3)) + b"]",
        b"[" + b",".join([b"%d" % rng.randrange(10, 100)] * (size_bytes // 3)) + b"]",
        b"[" + b",".join([b'{"a":1}'] * (size_bytes // 8)) + b"]",
    )
    head = b'{"definitionId":"' + LARGE_ID.encode() + b'","variables":{"large":'
    return [head + content + b"}}" for content in contents]

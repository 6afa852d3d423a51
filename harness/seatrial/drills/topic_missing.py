"""T2: a node does not start while a stored definition's topic is missing, and it names every one that is.

Two definitions are uploaded before their topics exist, which an engine accepts (contract 6.6); the next boot must not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Boots, Database
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear, linear_starts

THERE = linear(1, name="there")
MISSING = linear(1, name="missing")
ABSENT = linear(1, name="absent")
STARTS = 10
BOOT_BOUND_S = 15.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 1, STARTS, name="there")}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(THERE)
    context.workers.start(THERE.worker())
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    (missing,), (absent,) = context.destinations(MISSING), context.destinations(ABSENT)
    await context.upload(MISSING, destinations=False)
    await context.boot("one topic missing", {}, [missing], bound_s=BOOT_BOUND_S)
    await context.upload(ABSENT, destinations=False)
    await context.boot("two topics missing", {}, [absent, missing], bound_s=BOOT_BOUND_S)
    await context.broker.create_destinations(MISSING.job_types())
    await context.boot("one of them made", {}, [absent], bound_s=BOOT_BOUND_S)
    await context.broker.create_destinations(ABSENT.job_types())
    everything = context.broker.destination_lines(
        THERE.job_types() | MISSING.job_types() | ABSENT.job_types()
    )
    await context.boot("both made", {}, everything, bound_s=2 * BOOT_BOUND_S, serves=True)
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="T2",
    title="A topic is missing at boot",
    promise="A boot fails while a stored definition lacks a topic, and names all missing topics (contract 6.6).",
    checks=("BC", "OC", "NL", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "republished_max": 0,
        "error_statuses_allowed": [],
        "ops_min": STARTS,
    },
    needs=(Database, Broker, Boots),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    mode="kafka",
    replicas=1,
    core=True,
    on_kind=True,
    bound_s=150.0,
)

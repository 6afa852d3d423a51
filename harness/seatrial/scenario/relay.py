"""Work that keeps the outbox's relay busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start
from seatrial.workload.linear import linear, linear_starts

STEPS = 2
RELAYED = linear(STEPS, handler=Handler(think_max_s=0.02), name="relayed")
WORKERS = 2
#: a completion that was lost with its replica is made up for by a redelivery
REDELIVERY_S = 4.0
#: after which a leader that does not respond is replaced; the engine's default
TERM_S = 3.0
DRAIN_S = 40.0
RELAYS_WITHIN_S = 20.0
CHECKS = ("LD", "OC", "PO", "NL", "NP", "S1x", "DB", "LV", "AV")
NEEDS = (Kill, Database, Broker)
VALUES = engine_variables(
    WINDLASS_LEASE_SWEEP_SECONDS=1,
    WINDLASS_TIMER_SWEEP_SECONDS=1,
    WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    WINDLASS_LEADER_TERM_SECONDS=TERM_S,
)


def relayed_starts(rng: random.Random, count: int, over_s: float) -> tuple[Start, ...]:
    return linear_starts(rng, STEPS, count, over_s=over_s, name="relayed")


def one_fault(starts: int, load_s: float) -> Callable[[random.Random], Mapping[str, Any]]:
    """A drill's plan: the load, and the time of the fault."""

    def plan(rng: random.Random) -> Mapping[str, Any]:
        drawn = relayed_starts(rng, starts, load_s)
        return {"starts": drawn, "fault_at_s": round(rng.uniform(1.0, 2.0), 3)}

    return plan


def parameters(*, ops_min: int, faults_min: int = 1, **more: Any) -> Mapping[str, Any]:
    """Calls may be lost while the fault has an effect."""
    return {
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "recovery_bound_s": 15,
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "faults_min": faults_min,
        "ops_min": ops_min,
        **more,
    }


async def under_load(context: ScenarioContext, *, workers: int = WORKERS) -> asyncio.Task[list[str]]:
    """Uploads definitions and begins workers and the schedule's `starts`; returns when a first row was published."""
    await context.upload(RELAYED)
    if workers:
        context.workers.start(RELAYED.worker(), workers)
    await context.leader()
    await context.workers_joined()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))

    async def relays() -> bool:
        rows = await context.query("SELECT count(*) FROM seatrial.outbox_audit WHERE what = 'removed'")
        return bool(rows[0][0])

    await context.eventually(relays, RELAYS_WITHIN_S, "the relay has removed a row")
    return load


async def to_the_end(
    context: ScenarioContext, load: asyncio.Task[list[str]], *, drain_s: float = DRAIN_S
) -> None:
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(drain_s)


async def another_leads(context: ScenarioContext, before: str, within_s: float = 20.0) -> bool:
    """Only continues the scenario: the checks decide whether it came in time."""

    async def has_changed() -> bool:
        found = await context.leaders()
        return bool(found) and before not in found

    return await context.reached(has_changed, within_s)

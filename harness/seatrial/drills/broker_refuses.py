"""T4: every way in which a secured broker refuses an engine (contract 6.6).

Each boot must end with its own cause, and everything sent to the broker must be TLS to the last byte: no retry in
plaintext, no password anywhere. Afterwards the same engine boots with every login that the broker offers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Boots, Database
from seatrial.cluster.broker import Broker, BrokerProcess
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear, linear_starts

WORK = linear(1, name="guarded")
STARTS = 8
BOOT_BOUND_S = 18.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 1, STARTS, name="guarded")}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    context.workers.start(WORK.worker())
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    broker = context.ability(BrokerProcess)
    for each in broker.refused_logins(WORK.job_types()):
        await context.boot(each.name, each.values, each.expected, bound_s=BOOT_BOUND_S)
        context.look_at_wire(each.name, *each.needles, *context.destinations(WORK))
    for each in broker.accepted_logins():
        await context.boot(each.name, each.values, each.expected, bound_s=2 * BOOT_BOUND_S, serves=True)
        context.look_at_wire(each.name, *context.destinations(WORK))
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="T4",
    title="A secured broker that refuses the engine",
    promise="A wrong password, CA, right or name ends the boot with that cause, and nothing is sent in plaintext (C).",
    checks=("BC", "PW", "NL", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={"lease_s": 30, "lease_sweep_interval_s": 1, "error_statuses_allowed": [], "ops_min": STARTS},
    needs=(Database, Broker, BrokerProcess, Boots),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    mode="kafka",
    replicas=1,
    bound_s=240.0,
)

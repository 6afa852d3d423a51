"""K5 and B2: the broker crashes under load and is back after seconds, or after a minute.

An engine that publishes inside a transaction (contract 11 row 14) holds row locks and stops vacuum for as long as the
broker is away. Here starts continue, the events wait in the outbox, the engine's sessions are checked five times a
second for open transactions, and afterwards the backlog must drain faster than it grew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from seatrial.cluster.broker import BrokerProcess
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.fault.broker import CrashBroker
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    VALUES,
    parameters,
    relayed_starts,
    to_the_end,
    under_load,
)

FAULT_AT_S = 1.5
RATE_PER_S = 8
AFTER_S = 6.0
SHORT_S, LONG_S = 6.0, 60.0
TRANSACTION_AGE_MAX_S = 2.0
DRAIN_RATIO_MIN = 3.0
DRAIN_S = 100.0
#: no completion is lost here, and a backlog is not a reason to send a job twice
REDELIVERY_S = 60.0


def plan_of(away_s: float) -> Callable[[random.Random], Mapping[str, Any]]:
    load_s = FAULT_AT_S + away_s + AFTER_S

    def plan(rng: random.Random) -> Mapping[str, Any]:
        return {"starts": relayed_starts(rng, round(RATE_PER_S * load_s), load_s), "away_s": away_s}

    return plan


async def scenario(context: ScenarioContext) -> None:
    load = await under_load(context)
    await context.at(FAULT_AT_S)
    context.phase("fault")
    async with context.inflicted(CrashBroker()):
        await asyncio.sleep(context.schedule["away_s"])
    await to_the_end(context, load, drain_s=DRAIN_S)


DRILL = Drill(
    id="K5",
    title="The broker crashes",
    promise="While the broker is down the outbox accepts rows and no transaction waits; afterwards all rows are sent.",
    checks=("BO", *CHECKS),
    plan=plan_of(SHORT_S),
    scenario=scenario,
    parameters=parameters(
        redelivery_s=REDELIVERY_S,
        ops_min=round(RATE_PER_S * SHORT_S),
        transaction_age_max_s=TRANSACTION_AGE_MAX_S,
        drain_ratio_min=DRAIN_RATIO_MIN,
        backlog_min=round(RATE_PER_S * SHORT_S / 2),
    ),
    needs=(*NEEDS, BrokerProcess),
    values=merge(VALUES, engine_variables(WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S)),
    mode="kafka",
    bound_s=180.0,
)
MINUTE = replace(
    DRILL,
    id="B2",
    title="The broker is down for a minute",
    promise="A minute without a broker leaves no transaction open for 2 s, and its backlog drains three times as fast.",
    plan=plan_of(LONG_S),
    parameters={**DRILL.parameters, "backlog_min": round(RATE_PER_S * LONG_S / 2)},
    bound_s=240.0,
)

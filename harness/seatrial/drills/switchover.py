"""D3: the primary is changed on purpose, and the old one comes back as a standby where some engines still look for it.

A name or a virtual address does not move for everybody at once, so for a while one replica's sessions lead to a server
that reads well, takes no writes, and lags behind. What it reads there is the past: an instance that was just started
is not found (CloudNativePG issue 1254). It has to refuse, and to let go of those sessions once the address has moved.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from seatrial.cluster.ability import Database, Failover, Kill, Reconfigure
from seatrial.drill import Drill
from seatrial.drills.failover import (
    DRAIN_S,
    LEASE_S,
    LINEAR,
    LOAN,
    PARAMETERS,
    SLOTS,
    VALUES,
    WORKERS,
    attach,
)
from seatrial.fault.failover import SwitchOver
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import together
from seatrial.workload.linear import linear_starts
from seatrial.workload.loan import loan_starts

LINEAR_STARTS = 160
LOAN_STARTS = 20
KAFKA_LINEAR_STARTS = 80
KAFKA_LOAN_STARTS = 12
LOAD_S = 10.0
LATE_S = 2.5
#: longer than anything takes here: what the old primary shows is the past
LAG_S = 60.0
LATE = "replica-2"
READERS = 2


def plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, LINEAR_STARTS, LOAN_STARTS)


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, KAFKA_LINEAR_STARTS, KAFKA_LOAN_STARTS)


def _plan(rng: random.Random, linears: int, loans: int) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, linears, over_s=LOAD_S),
        "loan": loan_starts(rng, loans, over_s=LOAD_S),
        "switched_at_s": round(rng.uniform(1.5, 2.5), 3),
    }


def switched_over(*, gives_both_hosts: bool) -> Callable[[ScenarioContext], Awaitable[None]]:
    """Engines that know both hosts need no address to move: nobody is late."""

    async def scenario(context: ScenarioContext) -> None:
        await attach(context, synchronous=True, gives_both_hosts=gives_both_hosts)
        late = () if gives_both_hosts else (LATE,)
        async with working(
            context,
            (LINEAR, LOAN),
            together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S),
            workers=WORKERS,
            loads=("linear", "loan"),
            fault_at="switched_at_s",
            drain_s=DRAIN_S,
            readers=READERS,
        ):
            await context.fault(SwitchOver(late, LAG_S), hold_s=LATE_S if late else 0.0)

    return scenario


DRILL = Drill(
    id="D3",
    title="A planned switchover, and one replica still reaches the old primary",
    promise="No read from a demoted server is taken for the truth, and a switchover loses nothing.",
    checks=("RY", "NL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=switched_over(gives_both_hosts=False),
    parameters={**PARAMETERS, "ops_min": LINEAR_STARTS, "circumstances_min": {"reads_refused": 3}},
    needs=(Database, Failover, Kill),
    values=VALUES,
    bound_s=120.0,
)

KAFKA = DRILL.through_broker(
    title="A planned switchover between two hosts that the engines know; jobs through Kafka",
    promise="Engines that know both hosts follow a switchover by themselves, and so does the relay's lead.",
    checks=("RY", "NL", "NP", "S1x", "DB", "OC", "PO", "LD", "RT", "LV", "AV"),
    plan=smaller_plan,
    scenario=switched_over(gives_both_hosts=True),
    parameters={"ops_min": KAFKA_LINEAR_STARTS, "circumstances_min": {}},
    needs=(Database, Failover, Kill, Reconfigure),
)

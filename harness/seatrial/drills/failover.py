"""D2: the primary is lost under load, and its standby is promoted. Before it is lost the standby gets nothing any more.

With synchronous replication such commits wait, so whatever was acknowledged is on the standby. With asynchronous
replication they are acknowledged, and the database itself loses them: the drill compares what both servers held, tells
what that was, and judges the engine by the rest.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from seatrial.cluster.ability import Database, Failover, Kill, Promotion, Reconfigure
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.failover import LosePrimary
from seatrial.observe.lineage import observe_new_primary, observe_old_primary
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import Handler, together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3, handler=Handler(think_max_s=0.1))
LOAN = loan(think_max_s=0.1)
LINEAR_STARTS = 200
LOAN_STARTS = 25
LOAD_S = 10.0
#: until a failover manager has made sure that the primary is gone
NOTICED_AFTER_S = 1.0
#: the standby gets nothing any more: synchronous commits wait, asynchronous ones are answered and lost
HELD_BACK_S = 0.5
WORKERS = 2
SLOTS = 24
LEASE_S = 3
DRAIN_S = 25.0
RECOVERY_BOUND_S = 5.0
KAFKA_LINEAR_STARTS = 80
KAFKA_LOAN_STARTS = 12


def plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, LINEAR_STARTS, LOAN_STARTS)


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return _plan(rng, KAFKA_LINEAR_STARTS, KAFKA_LOAN_STARTS)


def _plan(rng: random.Random, linears: int, loans: int) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, linears, over_s=LOAD_S),
        "loan": loan_starts(rng, loans, over_s=LOAD_S),
        "lost_at_s": round(rng.uniform(2.5, 3.5), 3),
    }


def losing_the_primary(
    *, synchronous: bool, gives_both_hosts: bool = False
) -> Callable[[ScenarioContext], Awaitable[None]]:
    async def scenario(context: ScenarioContext) -> None:
        failover = context.ability(Failover)
        await attach(context, synchronous=synchronous, gives_both_hosts=gives_both_hosts)

        async def survey(promotion: Promotion) -> None:
            await observe_new_primary(context.ability(Database).dsn(), promotion, context.recorder)

        async with working(
            context,
            (LINEAR, LOAN),
            together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S),
            workers=WORKERS,
            loads=("linear", "loan"),
            fault_at="lost_at_s",
            drain_s=DRAIN_S,
        ):
            await failover.hold_back()
            await asyncio.sleep(HELD_BACK_S)
            await context.fault(LosePrimary(survey), hold_s=NOTICED_AFTER_S)
        async with failover.alone() as dsn:
            await observe_old_primary(dsn, context.recorder)

    return scenario


async def attach(context: ScenarioContext, *, synchronous: bool, gives_both_hosts: bool) -> None:
    """Gives the primary its standby, and the engines its address as well if they are to find the primary themselves."""
    await context.ability(Failover).attach(synchronous=synchronous, gives_both_hosts=gives_both_hosts)
    if gives_both_hosts:
        await context.race(context.ability(Reconfigure).reconfigure(name, {}) for name in context.names)


PARAMETERS: Mapping[str, Any] = {
    "lease_s": LEASE_S,
    "lease_sweep_interval_s": 1,
    "recovery_bound_s": 20,
    "recovery_after_heal_bound_s": RECOVERY_BOUND_S,
    # 503: there is no primary; 409: a lease expired meanwhile; 0: a call took longer than its caller waits; 404: a user
    # task was completed by a call that got no answer.
    "error_statuses_allowed": [0, 404, 409, 503],
    "errors_only_during_fault": True,
    "faults_min": 1,
    "ops_min": LINEAR_STARTS,
}
VALUES = engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5)

DRILL = Drill(
    id="D2",
    title="The primary is killed, its synchronous standby promoted",
    promise="Nothing acknowledged is lost when a synchronous standby takes over, and work goes on within 5 s.",
    checks=("NL", "FL", "NP", "LX", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=losing_the_primary(synchronous=True),
    parameters=PARAMETERS,
    needs=(Database, Failover, Kill),
    values=VALUES,
    core=True,
    bound_s=120.0,
)

# Jobs through Kafka, and the engines find the primary themselves, among two addresses.
KAFKA = DRILL.through_broker(
    title="The primary is killed, and engines that know both hosts find the other; jobs through Kafka",
    promise="The outbox survives the failover, and the relay's lead moves to the new primary with it.",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LD", "RT", "LV", "AV"),
    plan=smaller_plan,
    scenario=losing_the_primary(synchronous=True, gives_both_hosts=True),
    parameters={"ops_min": KAFKA_LINEAR_STARTS},
    needs=(Database, Failover, Kill, Reconfigure),
)

# The end of the log never leaves the primary. Who lost what is told apart: a lease that is lost may be given out again
# with the same token, so leases and executions are judged by the drills with synchronous replication.
ASYNCHRONOUS = Drill(
    id="D2-async",
    title="The primary is killed before its asynchronous standby has everything",
    promise="What the new primary had is kept and consistent; what is missing, the database itself had lost.",
    checks=("FL", "NL", "NP", "S1x", "RT", "LV", "AV"),
    plan=plan,
    scenario=losing_the_primary(synchronous=False),
    parameters={
        **PARAMETERS,
        "database_may_lose": True,
        # What would have ended these steps may be among what the database lost; NL judges what it kept.
        "parked_allowed": ["USER_TASK", "WAIT"],
        "circumstances_min": {"acks_lost_by_database": 5},
    },
    needs=(Database, Failover, Kill),
    values=VALUES,
    bound_s=120.0,
)

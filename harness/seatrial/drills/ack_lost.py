"""K2: the broker takes a batch and its acknowledgement never arrives; then the leader dies as well.

The broker recognises a producer that sends again; its successor is another producer, so what it sends again is a
second record. It must have the same dedup id, by which workers recognise it (contract 6.2).
"""

from __future__ import annotations

import asyncio

from seatrial.cluster.broker import BrokerProcess
from seatrial.drill import Drill
from seatrial.fault.broker import CutBroker
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    RELAYED,
    VALUES,
    WORKERS,
    another_leads,
    one_fault,
    parameters,
    to_the_end,
    under_load,
)

STARTS = 80
LOAD_S = 5.0
ON_ITS_WAY_S = 0.7


async def scenario(context: ScenarioContext) -> None:
    # A job that a worker has already done need not be sent again.
    load = await under_load(context, workers=0)
    await context.at(context.schedule["fault_at_s"])
    leader = await context.leader()
    context.phase("fault")
    async with context.inflicted(CutBroker("half-open")):
        await asyncio.sleep(ON_ITS_WAY_S)
        async with context.inflicted(KillReplica(leader)):
            await another_leads(context, leader)
            # A replica that restarts needs the broker.
            await context.ability(BrokerProcess).mend()
    context.workers.start(RELAYED.worker(), WORKERS)
    await to_the_end(context, load)


DRILL = Drill(
    id="K2",
    title="The broker's acknowledgement is lost",
    promise="A batch whose acknowledgement is lost is published again under the same dedup ids, and counts once.",
    checks=CHECKS,
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(ops_min=STARTS // 2, faults_min=2, circumstances_min={"copies": 1}),
    needs=(*NEEDS, BrokerProcess),
    values=VALUES,
    mode="kafka",
    bound_s=150.0,
)

"""K1: the leader dies between the broker's acknowledgement and the removal of the rows.

The drill creates this moment: while the broker is cut off, the relay has a batch on its way; then the leader is cut
off from the database and the broker is connected again, so the batch is accepted but cannot be removed; then the
leader is killed.
Its successor must publish the same rows again, under the same dedup ids, since nobody can know that they were taken.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from seatrial.cluster.ability import Partition
from seatrial.cluster.broker import BrokerProcess
from seatrial.drill import Drill
from seatrial.fault.broker import CutBroker
from seatrial.fault.kill import KillReplica
from seatrial.fault.partition import CutNetwork
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
#: well below what the relay waits for an acknowledgement
ON_ITS_WAY_S = 0.7
TAKEN_S = 0.7


async def scenario(context: ScenarioContext) -> None:
    # A job that a worker has already done need not be sent again.
    load = await under_load(context, workers=0)
    await context.at(context.schedule["fault_at_s"])
    leader = await context.leader()
    context.phase("fault")
    async with AsyncExitStack() as cut_off:
        async with context.inflicted(CutBroker("half-open")):
            await asyncio.sleep(ON_ITS_WAY_S)
            await cut_off.enter_async_context(context.inflicted(CutNetwork(leader, "blackhole")))
        await asyncio.sleep(TAKEN_S)
        async with context.inflicted(KillReplica(leader)):
            await another_leads(context, leader)
            # A replica that restarts needs its network.
            await context.ability(Partition).mend(leader)
    context.workers.start(RELAYED.worker(), WORKERS)
    await to_the_end(context, load)


DRILL = Drill(
    id="K1",
    title="The leader dies between acknowledgement and removal",
    promise="Rows that the broker took but nobody removed are published again with their dedup id, and count once.",
    checks=CHECKS,
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(
        ops_min=STARTS // 2,
        faults_min=3,
        error_statuses_allowed=[0, 503, 504],
        circumstances_min={"copies": 1},
    ),
    needs=(*NEEDS, Partition, BrokerProcess),
    values=VALUES,
    mode="kafka",
    bound_s=150.0,
)

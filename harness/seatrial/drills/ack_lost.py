"""K2: the broker takes a batch and its acknowledgement never arrives; then the leader dies as well.

A producer that asks again is recognised by the broker; its successor is another producer, so what it sends again is a
second record (drills.md C.19). It must bear the same dedup id, by which workers know it.
"""

from __future__ import annotations

import asyncio

from seatrial.cluster import KafkaFaults
from seatrial.drill import Drill
from seatrial.fault.broker import CutBroker
from seatrial.fault.kill import KillReplica
from seatrial.stage import Stage
from seatrial.workload.relay import (
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


async def scenario(stage: Stage) -> None:
    assert isinstance(stage.cluster, KafkaFaults)
    # A job that a worker has done meanwhile need not be sent again.
    load = await under_load(stage, workers=0)
    await stage.at(stage.schedule["fault_at_s"])
    leader = await stage.leader()
    stage.phase("fault")
    async with stage.inflicted(CutBroker("half-open")):
        await asyncio.sleep(ON_ITS_WAY_S)
        async with stage.inflicted(KillReplica(leader)):
            await another_leads(stage, leader)
            # What starts again needs its broker.
            await stage.cluster.broker_process().mend()
    stage.workers.start(RELAYED.worker(), WORKERS)
    await to_the_end(stage, load)


DRILL = Drill(
    id="K2",
    title="The broker's acknowledgement is lost",
    promise="A batch whose acknowledgement is lost is published again under the same dedup ids, and counts once.",
    checks=CHECKS,
    plan=one_fault(STARTS, LOAD_S),
    scenario=scenario,
    parameters=parameters(ops_min=STARTS // 2, faults_min=2, circumstances_min={"copies": 1}),
    needs=(*NEEDS, KafkaFaults),
    values=VALUES,
    mode="kafka",
    bound_s=150.0,
)

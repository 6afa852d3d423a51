"""M2: polling, kafka_outbox, polling, kafka_outbox; each change while jobs wait (contract 6.7). Where outbox rows are
written only for jobs created in mode kafka_outbox, jobs that waited at the change are stranded (contract 11 row 16).
Here each change leaves some waiting, of either mode, and each is finished in the next mode.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill, Reconfigure
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import OUTBOX_VALUES, Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start
from seatrial.workload.linear import linear

WORK = linear(2, name="flipped", handler=Handler(think_max_s=0.02))
WAITING_EACH = 20
REDELIVERY_S = 4.0
DONE_WITHIN_S = 40.0
POLLING = {"engine": {"dispatchMode": "polling"}}
TURNS: tuple[tuple[str, Mapping[str, Any], Any], ...] = (
    ("to-kafka", OUTBOX_VALUES, "consume"),
    ("to-polling", POLLING, "poll"),
    ("to-kafka-again", OUTBOX_VALUES, "consume"),
)


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        turn: [
            Start("flipped-2", f"{turn}-{number:03d}", {"amount": rng.randrange(1, 1000)})
            for number in range(WAITING_EACH)
        ]
        for turn, _, _ in TURNS
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    context.phase("load")
    for turn, values, way in TURNS:
        # Nobody works now, so all of them wait when the mode changes.
        await context.load(context.schedule[turn])
        await _turn(context, values)
        (worker,) = context.workers.start(WORK.worker(), way=way)
        await context.workers_joined()
        await context.drain(DONE_WITHIN_S)
        await context.workers.stop(worker)
    context.phase("drain")
    await context.drain(DONE_WITHIN_S)


async def _turn(context: ScenarioContext, values: Mapping[str, Any]) -> None:
    replicas = context.ability(Reconfigure)
    await asyncio.gather(*(replicas.reconfigure(name, values) for name in context.names))


DRILL = Drill(
    id="M2",
    title="The mode changes three times",
    promise="Jobs that wait when the mode changes are done in the next mode, in both directions (contract 6.7).",
    checks=("NL", "NP", "S1x", "DB", "OC", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "error_statuses_allowed": [],
        "ops_min": len(TURNS) * WAITING_EACH,
        "circumstances_min": {"rows_enqueued": 2 * WAITING_EACH},
    },
    needs=(Database, Broker, Kill, Reconfigure),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="both",
    replicas=2,
    bound_s=240.0,
)

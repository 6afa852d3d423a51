"""M3: during a change of mode some replicas hand jobs to a broker and others to pollers, with workers of both kinds.

A job may reach workers in both ways: the first completion wins, a poller's lease is respected, and when the last
replica
has changed nothing is left behind.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill, Reconfigure
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import OUTBOX_VALUES, Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

WORK = linear(2, name="mixed", handler=Handler(think_max_s=0.05))
STARTS = 120
LOAD_S = 14.0
MIXED_S = (3.0, 8.0)
LEASE_S = 4
REDELIVERY_S = 5.0
DRAIN_S = 60.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S, name="mixed"),
        "order": rng.sample(range(3), 3),
        "turns_s": [1.0, round(rng.uniform(*MIXED_S), 3), round(rng.uniform(*MIXED_S) + MIXED_S[1], 3)],
    }


async def scenario(context: ScenarioContext) -> None:
    replicas = context.ability(Reconfigure)
    await context.upload(WORK)
    context.workers.start(WORK.worker(lease_s=LEASE_S), way="poll")
    context.workers.start(WORK.worker(), way="consume")
    await context.workers_joined()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    names = context.names
    for number, at_s in zip(context.schedule["order"], sorted(context.schedule["turns_s"]), strict=True):
        await context.at(at_s)
        await replicas.reconfigure(names[number % len(names)], OUTBOX_VALUES)
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="M3",
    title="Replicas of both modes",
    promise="Replicas of both modes and workers of both kinds share one database, and nothing is lost (contract 6.7).",
    checks=("NL", "NP", "LX", "FN", "S1x", "DB", "OC", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        # 410: the poller called a replica that has changed; 0: one that is changing; 409: the other way was faster.
        "error_statuses_allowed": [0, 409, 410],
        "ops_min": STARTS,
        "circumstances_min": {"rows_enqueued": STARTS // 3},
    },
    needs=(Database, Broker, Kill, Reconfigure),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="both",
    bound_s=200.0,
)

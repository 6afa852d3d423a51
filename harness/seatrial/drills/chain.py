"""X3: replicas die around the commit of an END that starts the next workflow.

An engine that starts the chained workflow in the background, before the parent's commit (contract 11 row 12), loses the
child in a crash, and a rollback leaves one without a parent. Every parent carries a key its child inherits, so each
is matched with its own child: exactly one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start, WorkerSpec

PARENT: Mapping[str, Any] = {
    "id": "order",
    "name": "An order, whose end starts the delivery",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": "delivery",
    "steps": [
        {
            "id": "pack",
            "name": "Pack it",
            "type": "SERVICE_TASK",
            "jobType": "order-pack",
            "nextStep": "packed",
        },
        {"id": "packed", "name": "Packed", "type": "END"},
    ],
}
CHILD: Mapping[str, Any] = {
    "id": "delivery",
    "name": "The delivery of an order",
    "steps": [
        {"id": "drive", "name": "Drive there", "type": "SERVICE_TASK", "jobType": "delivery-drive",
         "nextStep": "delivered"},
        {"id": "delivered", "name": "Delivered", "type": "END"},
    ],
}  # fmt: skip
ORDERS = 600
LOAD_S = 8.0
KILLS = 4
DOWN_S = 0.3
WORKERS = 2
SLOTS = 32
LEASE_S = 3
DRAIN_S = 40.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    instants = sorted(round(rng.uniform(0.0, LOAD_S), 4) for _ in range(ORDERS))
    return {
        "orders": tuple(
            Start("order", f"order-{number:04d}", {"weight": rng.randrange(1, 99)}, at_s)
            for number, at_s in enumerate(instants)
        ),
        "kills": [
            (round(1.0 + 1.8 * number + rng.uniform(0.0, 0.6), 3), rng.randrange(3))
            for number in range(KILLS)
        ],
    }


async def scenario(context: ScenarioContext) -> None:
    client = context.client()
    for definition in (CHILD, PARENT):
        await client.upload(definition)
    handlers = {"order-pack": Handler(), "delivery-drive": Handler()}
    context.workers.start(WorkerSpec(handlers=handlers, slots=SLOTS, lease_s=LEASE_S), WORKERS)
    context.phase("load")
    load = context.spawn(context.load(context.schedule["orders"]))
    for at_s, number in context.schedule["kills"]:
        await context.at(at_s)
        context.phase("fault")
        await context.fault(KillReplica(context.names[number % len(context.names)]), hold_s=DOWN_S)
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="X3",
    title="Chained workflows while replicas die",
    promise="Each completed parent has started its successor exactly once, even if replicas die while it ends.",
    checks=("S1x", "NL", "NP", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "chain_key": "key",
        "error_statuses_allowed": [0, 409],
        "faults_min": KILLS,
        "ops_min": ORDERS,
    },
    needs=(Kill, Database),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    bound_s=120.0,
)

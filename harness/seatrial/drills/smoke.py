"""Every workload once, without a fault: this must pass before injecting faults makes sense."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from seatrial.cluster.broker import BrokerProcess
from seatrial.cluster.brokers import DEFAULT
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3)
LOAN = loan()
LINEAR_STARTS = 200
LOAN_STARTS = 40
LOAD_S = 4.0
WORKERS = 2
SLOTS = 16
LEASE_S = 30
DRAIN_S = 40.0
#: a worker of Kafka's takes one message at a time of each type
KAFKA_LINEAR_STARTS = 90
KAFKA_LOAN_STARTS = 16


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
    }


def smaller_plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, KAFKA_LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, KAFKA_LOAN_STARTS, over_s=LOAD_S),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR, LOAN)
    context.workers.start(together(LINEAR, LOAN, slots=SLOTS, lease_s=LEASE_S), WORKERS)
    context.people()
    await context.workers_joined()
    context.phase("load")
    await context.race(context.load(context.schedule[name]) for name in ("linear", "loan"))
    context.phase("drain")
    await context.drain(DRAIN_S)


async def secured_scenario(context: ScenarioContext) -> None:
    await scenario(context)
    context.look_at_wire("smoke", *context.destinations(LINEAR))


DRILL = Drill(
    id="smoke",
    title="All workloads, no fault",
    promise="Three replicas complete every step type, whichever replica each call reaches.",
    checks=("NL", "NP", "LX", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "ops_min": LINEAR_STARTS,
    },
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    core=True,
    on_compose=True,
    on_kind=True,
    bound_s=90.0,
)

KAFKA = DRILL.through_broker(
    title="All workloads through Kafka, no fault",
    promise="In kafka_outbox mode every step type completes, each job once, in order (contract 6.2).",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LD", "LV", "AV"),
    plan=smaller_plan,
    redelivery_s=60.0,
    parameters={"ops_min": KAFKA_LINEAR_STARTS, "republished_max": 0},
    core=True,
    on_kind=True,
)
SECURED = replace(
    KAFKA,
    id="smoke-secured",
    title="All workloads through Kafka with SASL over TLS",
    promise="With sasl_scram_tls the same workloads complete, and no byte can be read on the wire (contract 6.6).",
    checks=(*KAFKA.checks, "PW"),
    scenario=secured_scenario,
    values=merge(KAFKA.values, DEFAULT.secured_values),
    needs=(*KAFKA.needs, BrokerProcess),
    core=False,
    on_kind=False,
)

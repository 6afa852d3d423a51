"""T1: a node whose topics all exist logs its checks line by line (contract 6.5).

Topics are named by job type, and by step where a step names none (contract 3.4): such a step cannot be uploaded any
more, but a database may contain one. A first boot on an empty database, and one by SASL over TLS, have lines of their
own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Boots, Database, Siblings
from seatrial.cluster.broker import Broker, BrokerProcess
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start
from seatrial.workload.linear import linear, linear_starts

TYPED = linear(2)
BARE_TYPE = "bare-step"
#: as Rochallor stores a step that names no job type: its text as it came, its parsed form with the step's own name
BARE_STEP = {"id": BARE_TYPE, "name": "Bare", "type": "SERVICE_TASK", "nextStep": "done"}
BARE_END = {"id": "done", "name": "Done", "type": "END"}
STARTS_EACH = 10
BOOT_BOUND_S = 30.0
DRAIN_S = 40.0
READY_LINES = ("[dispatch] advisory-lock handshake ok", "[dispatch] migration 0009_dispatch_outbox applied")


def plan(rng: random.Random) -> Mapping[str, Any]:
    bare = [Start("bare", f"bare-{number}", {}, 0.0) for number in range(STARTS_EACH)]
    return {"starts": [*linear_starts(rng, 2, STARTS_EACH), *bare]}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(TYPED)
    await _store_bare_definition(context)
    context.workers.start(TYPED.worker(handlers={**TYPED.handlers, BARE_TYPE: Handler()}))
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    checked = (*context.broker.destination_lines({*TYPED.job_types(), BARE_TYPE}), *READY_LINES)
    standby = (*checked, "[dispatch] relay started; this replica is leader=false")
    plaintext = tuple(context.broker.boot_lines(secured=False))
    await context.boot("all topics there", {}, (*plaintext, *standby), bound_s=BOOT_BOUND_S, serves=True)
    secured = context.broker.boot_lines(secured=True)
    await context.boot(
        "with a login over TLS",
        context.broker_kind.secured_values,
        (*secured, *standby),
        bound_s=BOOT_BOUND_S,
        serves=True,
    )
    await _first_boot(context, plaintext)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _store_bare_definition(context: ScenarioContext) -> None:
    await context.broker.create_destinations([BARE_TYPE])
    document = {"id": "bare", "name": "A step without a job type", "steps": [BARE_STEP, BARE_END]}
    await context.query(
        """INSERT INTO workflow_definition (id, version, name, raw_json, parsed_steps)
        VALUES ('bare', 1, 'A step without a job type', %s::text::jsonb, %s::text::jsonb)""",
        json.dumps(document),
        json.dumps([{**BARE_STEP, "jobType": BARE_TYPE}, BARE_END]),
    )


async def _first_boot(context: ScenarioContext, plaintext: tuple[str, ...]) -> None:
    """On a database in which nothing is stored, so that nobody leads yet."""
    fresh = context.ability(Siblings).sibling(
        context.folder / "fresh", replicas=1, values=context.broker_kind.mode_values
    )
    first = (
        *plaintext,
        *context.broker.destination_lines([]),
        *READY_LINES,
        "[dispatch] relay started; this replica is leader=true",
    )
    try:
        await context.boot("nothing stored", {}, first, bound_s=BOOT_BOUND_S, serves=True, on=fresh)
    finally:
        await fresh.down()


DRILL = Drill(
    id="T1",
    title="All topics present at boot",
    promise="A successful boot logs each check in order, and every job reaches its topic (contract 6.5).",
    checks=("BC", "OC", "PO", "NL", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "republished_max": 0,
        "error_statuses_allowed": [],
        "ops_min": 2 * STARTS_EACH,
    },
    needs=(Database, Broker, BrokerProcess, Boots, Siblings),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    mode="kafka",
    bound_s=150.0,
)

"""U6: what the probes say while the database is down, and while its schema is missing. A kubelet acts on them: a
liveness probe that queries the database restarts all replicas for an outage that this cannot fix, and a
readiness that does not (Rochallor's `/healthz` is a static 200, and the only probe) sends calls to a node that can
only refuse them. The second half boots one more replica on an empty database, with migrations left to the operator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from seatrial.check.probe_truth import LIVENESS, READINESS
from seatrial.client import RecordingClient
from seatrial.cluster.ability import Commands, Database, Kill, Restarts, Siblings
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.database import CrashDatabase
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 120
LOAD_S = 8.0
NOTICE_BOUND_S = 2.0
AWAY_S = 4.5
UNMIGRATED_S = 4.5
PROBE_EVERY_S = 0.4
UNMIGRATED = "unmigrated"
PENDING = "migrations_pending"
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "away_at_s": round(rng.uniform(1.0, 2.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    await _database_goes_away(context)
    await _schema_is_not_there_yet(context)
    context.phase("drain")
    await context.drain(DRAIN_S)
    restarts = context.ability(Restarts)
    for name in context.names:
        _record_restarts(context, name, restarts.restarts(name))


async def _database_goes_away(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(lease_s=3), 1)
    for name in context.names:
        for path in (*LIVENESS, *READINESS):
            context.watch(name, path, every_s=PROBE_EVERY_S)
    context.phase("load")
    load = context.spawn(context.load(context.schedule["linear"]))
    await context.at(context.schedule["away_at_s"])
    context.phase("fault")
    await context.fault(CrashDatabase("fast"), hold_s=AWAY_S)
    context.phase("heal")
    await load


async def _schema_is_not_there_yet(context: ScenarioContext) -> None:
    """Recorded as a fault of the node, whose heal is `windlass migrate`."""
    sibling = context.ability(Siblings).sibling(
        context.folder / UNMIGRATED, replicas=1, values={"migrations": {"onStartup": False}}
    )
    process, target = f"fault-{UNMIGRATED}", {"target": UNMIGRATED}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sibling.down)
        call = context.recorder.invoke(process, PENDING, {**target, "parameters": {}})
        coming_up = context.spawn(sibling.up())
        await context.eventually(lambda: bool(sibling.replicas()), 10, "the other installation has a replica")
        node = sibling.replicas()[0]
        replica = replace(node, name=UNMIGRATED)
        client = await stack.enter_async_context(
            RecordingClient(f"probe-{UNMIGRATED}", [replica], context.recorder, context.random(UNMIGRATED))
        )
        await context.eventually(lambda: _listens(client), 30, "the unmigrated replica listens")
        context.recorder.end(process, "ok", PENDING, call, {**target, "listens": True})
        watches = [context.spawn(_watch(client, path)) for path in (*LIVENESS, *READINESS)]
        # Nothing may happen here, so there is nothing to wait for.
        await asyncio.sleep(UNMIGRATED_S)
        call = context.recorder.invoke(process, "heal", {**target, "fault": PENDING})
        await sibling.ability(Commands).run_command(node.name, "migrate")
        context.recorder.end(process, "ok", "heal", call, {**target, "fault": PENDING})
        await coming_up
        for watch in watches:
            watch.cancel()
        _record_restarts(context, UNMIGRATED, sibling.ability(Restarts).restarts(node.name))


async def _watch(client: RecordingClient, path: str) -> None:
    while True:
        await client.probe(UNMIGRATED, path)
        await asyncio.sleep(PROBE_EVERY_S)


async def _listens(client: RecordingClient) -> bool:
    return (await client.probe(UNMIGRATED, READINESS[0])).ok


def _record_restarts(context: ScenarioContext, node: str, count: int) -> None:
    context.recorder.info("observer", "restarts", {"node": node, "count": count}, node)


DRILL = Drill(
    id="U6",
    title="Probes tell the truth",
    promise="A node that cannot serve says so and why, and is not restarted for a cause that a restart cannot fix.",
    checks=("PT", "NL", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 3,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "probe_notice_bound_s": NOTICE_BOUND_S,
        "unready_reasons": {CrashDatabase.name: "database", PENDING: "migrations"},
        "error_statuses_allowed": [0, 409, 503],
        "errors_only_during_fault": True,
        "faults_min": 2,
        "ops_min": STARTS,
    },
    needs=(Database, Kill, Restarts, Siblings, Commands),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    restart=True,
    core=True,
    on_kind=True,
    bound_s=120.0,
)

"""N5: whoever reads a node's log stops reading, as a stuck log collector does. The pipe is full after a few calls;
where a line is written by whoever answers calls, nothing answers any more, not even a probe.

N5-stop: the same node is told to stop. Where the end waits for the log, only the end of its grace ends it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from seatrial.cluster.ability import Kill, LogReader
from seatrial.drill import Drill
from seatrial.fault.kill import StopReplica
from seatrial.fault.log_reader import StopLogReader
from seatrial.scenario import pressure
from seatrial.scenario.context import ScenarioContext

BEFORE_S = 2.0
BLOCKED_S = 2.0
AWAY_S = 1.0
AFTER_S = 3.0
#: for a process to boot on two busy cores
RECOVERY_BOUND_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": pressure.small_starts(rng), "replica": f"replica-{rng.randrange(pressure.REPLICAS)}"}


async def scenario(context: ScenarioContext) -> None:
    replica = context.schedule["replica"]
    await context.ability(LogReader).attach(replica)
    await context.upload(pressure.SMALL)
    await pressure.through_pressure(context, fault=StopLogReader(replica))


def plan_of_stop(rng: random.Random) -> Mapping[str, Any]:
    starts = pressure.small_starts(rng, BEFORE_S + BLOCKED_S + AWAY_S + AFTER_S - pressure.QUIET_S)
    return {**plan(rng), "starts": starts}


async def stopped_while_blocked(context: ScenarioContext) -> None:
    replica = context.schedule["replica"]
    await context.ability(LogReader).attach(replica)
    await context.upload(pressure.SMALL)
    context.workers.start(pressure.SMALL.worker(lease_s=pressure.LEASE_S), 1)
    context.watch_resources()
    context.phase("load")
    load = context.spawn(context.load(context.schedule["starts"]))
    await context.at(BEFORE_S)
    context.phase("fault")
    async with context.inflicted(StopLogReader(replica)):
        await context.at(BEFORE_S + BLOCKED_S)
        await context.fault(StopReplica(replica), hold_s=AWAY_S)
    context.phase("heal")
    await load
    context.phase("drain")
    await context.drain(pressure.DRAIN_S)


DRILL = Drill(
    id="N5",
    title="A reader of the log that stops",
    promise="A node whose log nobody reads answers everything as before.",
    checks=pressure.CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=pressure.parameters(faults_min=1),
    needs=(*pressure.NEEDS, LogReader, Kill),
    values=pressure.VALUES,
    replicas=pressure.REPLICAS,
    restart=True,
    bound_s=pressure.BOUND_S,
)

STOP = replace(
    DRILL,
    id="N5-stop",
    title="A node that is told to stop while nobody reads its log",
    promise="A node whose log nobody reads ends in its grace, completes what it was asked, and starts again.",
    checks=("NL", "LX", "FN", "S1x", "LV", "AV"),
    plan=plan_of_stop,
    scenario=stopped_while_blocked,
    parameters={
        "lease_s": pressure.LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "errors_only_at_target": True,
        "recovery_bound_s": RECOVERY_BOUND_S,
        "faults_min": 2,
        "ops_min": 100,
    },
)

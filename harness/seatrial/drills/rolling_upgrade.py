"""U1: `helm upgrade` to the next release, with a migration, while clients come in by the Service.

Seed 000 promises zero downtime, seed 003 lists rolling upgrades among what it has not proven, and no chart that we read
measures what its clients see meanwhile. temporalio/helm-charts#733 is a year of 5xx at each rollout. Here no call may
fail, whichever pod it meets: the migration's hook runs first, a new pod is ready before an old one leaves, and that one
answers what it has taken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import UpgradeRelease
from seatrial.stage import Stage
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts
from seatrial.yard import environment

REPLICAS = 3
LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 1_800
#: longer than any upgrade; the load ends with it
LOAD_S = 150.0
STARTS_MIN = 150
SETTLE_S = 2.0
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
#: most of it is for a busy machine
STALL_BOUND_S = 5.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S)}


async def scenario(stage: Stage) -> None:
    await stage.upload(LINEAR)
    stage.workers.start(LINEAR.worker(lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S), 2)
    done = asyncio.Event()
    stage.phase("load")
    load = stage.spawn(stage.load(until(done, stage.schedule["starts"])))
    await stage.at(SETTLE_S)
    await stage.fault(UpgradeRelease("next"), hold_s=SETTLE_S)
    done.set()
    await load
    stage.phase("drain")
    await stage.drain(DRAIN_S)


DRILL = Drill(
    id="U1",
    title="A rolling upgrade with a migration",
    promise="Clients of the Service see no failed call while every pod is replaced by the next release (seed 000).",
    checks=("RO", "AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STALL_BOUND_S,
        "ready_min": REPLICAS,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 1,
        "ops_min": STARTS_MIN,
    },
    needs=(Upgrade, Database),
    values={
        "migrations": {"enabled": True},
        **environment(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    },
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=200.0,
)

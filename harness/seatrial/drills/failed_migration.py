"""U3: an upgrade whose migration fails.

hatchet-dev/hatchet-charts#50: the pods rolled although the migration had failed. The hook runs before anything else, so
the old release must not notice; and when the cause is mended, the next upgrade goes through.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import FAILED, UpgradeRelease
from seatrial.stage import Stage
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts
from seatrial.yard import environment

REPLICAS = 2
LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 2_000
LOAD_S = 200.0
STARTS_MIN = 150
SETTLE_S = 1.0
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
#: most of it is for a busy machine
STALL_BOUND_S = 5.0
#: no migration is as slow; a chart that lets pods wait for this one would be seen by it
HELM_GIVES_UP_S = 60
#: the hook's Job tries again until then
GIVE_UP_S = 15
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S)}


async def scenario(stage: Stage) -> None:
    await stage.upload(LINEAR)
    stage.workers.start(LINEAR.worker(lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S), 1)
    done = asyncio.Event()
    stage.phase("load")
    load = stage.spawn(stage.load(until(done, stage.schedule["starts"])))
    await stage.at(SETTLE_S)
    await stage.fault(UpgradeRelease("broken", expects=FAILED, within_s=HELM_GIVES_UP_S), hold_s=SETTLE_S)
    await stage.fault(UpgradeRelease("next"), hold_s=SETTLE_S)
    done.set()
    await load
    stage.phase("drain")
    await stage.drain(DRAIN_S)


DRILL = Drill(
    id="U3",
    title="An upgrade whose migration fails",
    promise="A failed migration leaves the old release serving as if nothing had been tried, and the next try heals.",
    checks=("RO", "AV", "RT", "NL", "NP", "LX", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STALL_BOUND_S,
        "ready_min": REPLICAS,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": 2,
        "ops_min": STARTS_MIN,
    },
    needs=(Upgrade, Database),
    values={
        "migrations": {"enabled": True, "activeDeadlineSeconds": GIVE_UP_S},
        **environment(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    },
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=230.0,
)

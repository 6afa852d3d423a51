"""U5: both nodes drained in turn, as for new kernels, with a disruption budget.

Seed 000 offers the budget; with its `minAvailable: 1` at one replica it blocks every drain (helm/charts#7127). First
one node is drained, so that all pods stand on the other; when that one is, only the budget keeps some of them ready.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Nodes
from seatrial.drill import Drill
from seatrial.fault.rollout import DrainNode
from seatrial.stage import NotReached, Stage
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts
from seatrial.yard import environment

REPLICAS = 3
LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 2_000
LOAD_S = 200.0
STARTS_MIN = 150
SETTLE_S = 1.0
LEASE_S = 15
CALL_TIMEOUT_S = 10.0
#: most of it is for a busy machine
STALL_BOUND_S = 5.0
DRAIN_S = 30.0
NODES = 2


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 2, STARTS, over_s=LOAD_S)}


async def scenario(stage: Stage) -> None:
    await stage.upload(LINEAR)
    stage.workers.start(LINEAR.worker(lease_s=LEASE_S, call_timeout_s=CALL_TIMEOUT_S), 2)
    done = asyncio.Event()
    stage.phase("load")
    load = stage.spawn(stage.load(until(done, stage.schedule["starts"])))
    await stage.at(SETTLE_S)
    for _ in range(NODES):
        await stage.fault(DrainNode(node=_fullest_node(stage)), hold_s=SETTLE_S)
    done.set()
    await load
    stage.phase("drain")
    await stage.drain(DRAIN_S)


def _fullest_node(stage: Stage) -> str:
    assert isinstance(stage.cluster, Nodes)
    placement = stage.cluster.placement()
    if not placement:
        raise NotReached("no node holds a pod of the release")
    return max(sorted(placement), key=lambda node: placement[node])


DRILL = Drill(
    id="U5",
    title="Nodes drained under a disruption budget",
    promise="A drain takes pods one at a time while the budget says so (seed 000), and no call fails.",
    checks=("RO", "AV", "RT", "NL", "NP", "LX", "FN", "S1x", "DB", "LV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": STALL_BOUND_S,
        "ready_min": REPLICAS - 1,
        "evictions_refused_min": 1,
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "faults_min": NODES,
        "ops_min": STARTS_MIN,
    },
    needs=(Nodes, Database),
    values={
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": 1},
        **environment(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    },
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=230.0,
)

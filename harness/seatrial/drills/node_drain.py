"""U5: both nodes drained in turn, as for new kernels, with a disruption budget.

A budget of `minAvailable: 1` at one replica blocks every drain (helm/charts#7127), so the chart's budget says how
many may be unavailable. First one node is drained, so that all pods are on the other; when that one is drained, only
the budget keeps some of them ready. U5-bare: the same without a budget. The second drain evicts all pods at once, and
callers reach nobody until new pods have started. That time is measured; what was acknowledged must not be lost.
"""

from __future__ import annotations

from dataclasses import replace

from seatrial.cluster.ability import Database, Nodes
from seatrial.drill import Drill
from seatrial.fault.rollout import DrainNode
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.scenario.rollout import (
    BOUND_S,
    CHECKS,
    LEASE_S,
    SETTLE_S,
    VALUES,
    parameters,
    plan,
    under_load,
)

REPLICAS = 3
STARTS_MIN = 150
NODES = 2
#: for the new containers to start and become ready; most of it is for a busy machine
NOBODY_THERE_BOUND_S = 30.0


async def scenario(context: ScenarioContext) -> None:
    async with under_load(context, workers=2):
        for _ in range(NODES):
            await context.fault(DrainNode(node=_fullest_node(context)), hold_s=SETTLE_S)


def _fullest_node(context: ScenarioContext) -> str:
    placement = context.ability(Nodes).placement()
    if not placement:
        raise NotReached("no node holds a pod of the release")
    return max(sorted(placement), key=lambda node: placement[node])


DRILL = Drill(
    id="U5",
    title="Nodes drained under a disruption budget",
    promise="With a disruption budget a drain evicts one pod at a time, and no call fails.",
    checks=CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=parameters(
        ready_min=REPLICAS - 1, faults_min=NODES, ops_min=STARTS_MIN, evictions_refused_min=1
    ),
    needs=(Nodes, Database),
    values={"podDisruptionBudget": {"enabled": True, "maxUnavailable": 1}, **VALUES},
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

BARE = replace(
    DRILL,
    id="U5-bare",
    title="Nodes drained without a disruption budget",
    promise="Without a disruption budget a drain may evict all pods at once: callers wait only until new pods "
    "have started, and nothing is lost.",
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": NOBODY_THERE_BOUND_S,
        "ready_min": 0,
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "faults_min": NODES,
        "ops_min": STARTS_MIN,
        "circumstances_min": {"drains_of_all": 1},
    },
    values=VALUES,
)

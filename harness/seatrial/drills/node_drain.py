"""U5: both nodes drained in turn, as for new kernels, with a disruption budget.

Seed 000 offers the budget; with its `minAvailable: 1` at one replica it blocks every drain (helm/charts#7127). First
one node is drained, so that all pods stand on the other; when that one is, only the budget keeps some of them ready.
"""

from __future__ import annotations

from seatrial.cluster import Database, Nodes
from seatrial.drill import Drill
from seatrial.fault.rollout import DrainNode
from seatrial.stage import NotReached, Stage
from seatrial.workload.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

REPLICAS = 3
STARTS_MIN = 150
NODES = 2


async def scenario(stage: Stage) -> None:
    async with under_load(stage, workers=2):
        for _ in range(NODES):
            await stage.fault(DrainNode(node=_fullest_node(stage)), hold_s=SETTLE_S)


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

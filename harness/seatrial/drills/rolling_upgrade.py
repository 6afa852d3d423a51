"""U1: `helm upgrade` to the next release, with a migration, while clients call through the Service. Charts promise
zero downtime but seldom measure what clients see: temporalio/helm-charts#733 is a year of 5xx
at each rollout. Here no call may fail, whichever pod it reaches: the migration's hook runs first, a new pod is ready
before an old one terminates, and the old one answers the calls that it has accepted.
"""

from __future__ import annotations

from seatrial.cluster.ability import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import UpgradeRelease
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

REPLICAS = 3
STARTS_MIN = 150


async def scenario(context: ScenarioContext) -> None:
    async with under_load(context, workers=2):
        await context.fault(UpgradeRelease("next"), hold_s=SETTLE_S)


DRILL = Drill(
    id="U1",
    title="A rolling upgrade with a migration",
    promise="Clients of the Service see no failed call while every pod is replaced by the next release.",
    checks=CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=parameters(ready_min=REPLICAS, faults_min=1, ops_min=STARTS_MIN),
    needs=(Upgrade, Database),
    values={"migrations": {"enabled": True}, **VALUES},
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

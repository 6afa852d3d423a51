"""U4: upgrade, then `helm rollback` across the migration, both under load.

All operators rely on it, and no chart that we know tests it. evoila/meho#1607 and airflow-helm/charts#461 are
rollbacks that failed because the database was ahead. Migrations add first and remove a release later, and readiness
accepts
a database that is ahead, so the old release serves on the new schema and finishes what the new one began.
"""

from __future__ import annotations

from seatrial.cluster.ability import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import RollBackRelease, UpgradeRelease
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

REPLICAS = 2
STARTS_MIN = 200


async def scenario(context: ScenarioContext) -> None:
    async with under_load(context, workers=1):
        await context.fault(UpgradeRelease("next"), hold_s=SETTLE_S)
        await context.fault(RollBackRelease(), hold_s=SETTLE_S)


DRILL = Drill(
    id="U4",
    title="Helm rollback across a migration",
    promise="The old release serves on the new schema after a rollback and finishes what was in flight; no call fails.",
    checks=CHECKS,
    plan=plan,
    scenario=scenario,
    parameters=parameters(ready_min=REPLICAS, faults_min=2, ops_min=STARTS_MIN),
    needs=(Upgrade, Database),
    values={"migrations": {"enabled": True}, **VALUES},
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

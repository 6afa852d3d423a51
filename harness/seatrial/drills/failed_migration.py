"""U3: an upgrade whose migration fails.

hatchet-dev/hatchet-charts#50: the pods rolled although the migration had failed. The hook runs before anything else, so
the old release must not notice; and when the cause is fixed, the next upgrade succeeds.
"""

from __future__ import annotations

from seatrial.cluster.ability import Database, Upgrade
from seatrial.drill import Drill
from seatrial.fault.rollout import FAILED, UpgradeRelease
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

REPLICAS = 2
STARTS_MIN = 150
#: no migration is this slow; a chart that lets pods wait for this one would be noticed
HELM_GIVES_UP_S = 60
#: the hook's Job tries again until then
GIVE_UP_S = 15


async def scenario(context: ScenarioContext) -> None:
    async with under_load(context, workers=1):
        await context.fault(
            UpgradeRelease("broken", expects=FAILED, within_s=HELM_GIVES_UP_S), hold_s=SETTLE_S
        )
        await context.fault(UpgradeRelease("next"), hold_s=SETTLE_S)


DRILL = Drill(
    id="U3",
    title="An upgrade whose migration fails",
    promise="A failed migration leaves the old release serving unchanged, and the next attempt succeeds.",
    checks=tuple(check for check in CHECKS if check != "FN"),
    plan=plan,
    scenario=scenario,
    parameters=parameters(ready_min=REPLICAS, faults_min=2, ops_min=STARTS_MIN),
    needs=(Upgrade, Database),
    values={"migrations": {"enabled": True, "activeDeadlineSeconds": GIVE_UP_S}, **VALUES},
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

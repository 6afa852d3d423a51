"""U7: from one replica to five and back, twice, while clients call through the Service. The chart offers autoscalers,
and its README a formula for the connections that PostgreSQL must allow for the largest number of replicas. Each
engine opens its whole pool, so the sum is really reached. A terminating pod keeps its connections until its calls
have ended, so each wave begins when those of the last one are gone.
"""

from __future__ import annotations

from seatrial.cluster.ability import Database, ScaleOut
from seatrial.cluster.values import merge
from seatrial.drill import Drill
from seatrial.fault.scale import ScaleRelease
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

FEWEST, MOST = 1, 5
WAVES = 2
STARTS_MIN = 150
#: their grace period plus a margin
GONE_WITHIN_S = 60.0
POOL_CONNECTIONS = 4
#: the listener, and what a boot migrates with (the chart's page, Connections)
APART = 2


async def scenario(context: ScenarioContext) -> None:
    context.watch_sessions()
    async with under_load(context, workers=2):
        for _ in range(WAVES):
            await context.fault(ScaleRelease(MOST), hold_s=SETTLE_S)
            await context.fault(ScaleRelease(FEWEST))
            await context.eventually(
                lambda: _is_alone(context), GONE_WITHIN_S, "the terminating pods are gone"
            )


async def _is_alone(context: ScenarioContext) -> bool:
    rows = await context.query(
        "SELECT count(DISTINCT application_name) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'windlass/%/engine'"
    )
    return bool(rows[0][0] == FEWEST)


DRILL = Drill(
    id="U7",
    title="A scale storm",
    promise="Replicas come and go as an autoscaler asks; no call fails, and the database's "
    "connections stay within the formula.",
    checks=("CB", *(check for check in CHECKS if check != "RO")),
    plan=plan,
    scenario=scenario,
    parameters={
        **parameters(ready_min=FEWEST, faults_min=2 * WAVES, ops_min=STARTS_MIN),
        "connections_max": MOST * (POOL_CONNECTIONS + APART),
        "connections_per_node_max": POOL_CONNECTIONS + APART,
        "connections_of_a_node_min": POOL_CONNECTIONS,
        "nodes_connected_min": MOST,
    },
    needs=(ScaleOut, Database),
    values=merge(VALUES, {"engine": {"db": {"maxConns": POOL_CONNECTIONS, "minConns": POOL_CONNECTIONS}}}),
    replicas=FEWEST,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

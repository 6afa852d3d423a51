"""T6: nodes that must not join: one with a wrong password, and one of the next release whose migration nobody ran.

The first ends at once and says why. The second may wait, for a migration that an operator runs, but is not ready until
then and says for what it waits. The nodes that serve notice neither.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Boots, Database, NextRelease
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.fault.credentials import ChangePassword
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.outage import working
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
STARTS = 120
LOAD_S = 12.0
REFUSED_WITHIN_S = 15.0
WAITS_S = 8.0
SERVES_WITHIN_S = 30.0
#: all connections are open before the password changes: what is judged is the node that comes late
CONNECTIONS = 4
WORKERS = 2
LEASE_S = 10
DRAIN_S = 25.0
WRONG_PASSWORD = ("cannot connect to the database", "password authentication failed", "check WE_POSTGRES_DSN")
OLDER_SCHEMA = ("engine: REST listening", "migrations pending: the schema is at", "run windlass migrate")


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 2, STARTS, over_s=LOAD_S),
        "boots_at_s": round(rng.uniform(0.5, 1.0), 3),
    }


async def scenario(context: ScenarioContext) -> None:
    following = context.ability(NextRelease).values()
    async with working(
        context,
        (LINEAR,),
        LINEAR.worker(lease_s=LEASE_S),
        workers=WORKERS,
        loads=("linear",),
        fault_at="boots_at_s",
        drain_s=DRAIN_S,
    ):
        async with context.inflicted(ChangePassword()):
            await context.boot("a wrong password", {}, WRONG_PASSWORD, bound_s=REFUSED_WITHIN_S)
        await context.boot(
            "the next release on the schema of this one",
            merge(following, {"migrations": {"onStartup": False}}),
            OLDER_SCHEMA,
            bound_s=WAITS_S,
            waits=True,
        )
        await context.boot(
            "the next release, which migrates",
            following,
            ("migrate: applied", "engine: REST listening"),
            bound_s=SERVES_WITHIN_S,
            serves=True,
        )


DRILL = Drill(
    id="T6",
    title="Nodes with a wrong password, and before their migration",
    promise="A node with a wrong secret or an older schema does not serve and says why; the others notice nothing.",
    checks=("BC", "NL", "NP", "LX", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "faults_min": 1,
        "ops_min": STARTS,
    },
    needs=(Boots, Database, NextRelease),
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
        {"engine": {"db": {"maxConns": CONNECTIONS, "minConns": CONNECTIONS}}},
    ),
    replicas=2,
    bound_s=120.0,
)

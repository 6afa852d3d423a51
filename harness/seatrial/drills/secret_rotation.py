"""U8: the database's password is changed in place, and the pods are replaced by those that know the new one.

The DSN may be in an existing Secret, which its owner changes without asking the pods. As with CloudNativePG, the role
has the new password at once: open connections stay open, and new ones with the old password are refused. So every pod
that is not replaced yet has only its present connections, which is why its whole pool is opened: one that had to grow
answered 19 of 1501 calls, all polls, with 503. The drill therefore also tests the sum of connections in a rollout.
"""

from __future__ import annotations

from seatrial.cluster.ability import Credentials, Database, Upgrade
from seatrial.cluster.values import merge
from seatrial.drill import Drill
from seatrial.fault.credentials import RotatePassword
from seatrial.fault.rollout import UpgradeRelease
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.rollout import BOUND_S, CHECKS, SETTLE_S, VALUES, parameters, plan, under_load

REPLICAS = 3
STARTS_MIN = 150
POOL_CONNECTIONS = 8
#: connections of a pod: the listener, and what a boot migrates with (the chart's page, Connections)
APART = 2
#: additional pods: one starting and one terminating (see the same page)
DURING_ROLLOUT = 2
PLACES = ("logs", "history", "events", "objects", "release")
#: as the chart's page recommends after an existing Secret has changed
RESTARTED = {"podAnnotations": {"example.com/rotated": "1"}}


async def scenario(context: ScenarioContext) -> None:
    context.watch_sessions()
    async with under_load(context, workers=2):
        await context.fault(RotatePassword(), hold_s=SETTLE_S)
        await context.fault(UpgradeRelease("this", values=RESTARTED), hold_s=SETTLE_S)
    await context.look_for_secrets()


DRILL = Drill(
    id="U8",
    title="The database's password is rotated",
    promise="A password in an existing Secret is changed under load: no call fails, and no password shows anywhere.",
    checks=("SK", "CB", *CHECKS),
    plan=plan,
    scenario=scenario,
    parameters=parameters(
        ready_min=REPLICAS,
        faults_min=2,
        ops_min=STARTS_MIN,
        places=list(PLACES),
        connections_max=(REPLICAS + DURING_ROLLOUT) * (POOL_CONNECTIONS + APART),
        connections_per_node_max=POOL_CONNECTIONS + APART,
        connections_of_a_node_min=POOL_CONNECTIONS,
        nodes_connected_min=REPLICAS + 1,
    ),
    needs=(Credentials, Upgrade, Database),
    values=merge(VALUES, {"engine": {"db": {"maxConns": POOL_CONNECTIONS, "minConns": POOL_CONNECTIONS}}}),
    replicas=REPLICAS,
    entrance="service",
    on_kind=True,
    bound_s=BOUND_S,
)

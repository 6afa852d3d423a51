"""M4: the default mode, without any setting, has no trace of a broker (contract 6.1). Checked during the work and
after it: the rows ever written to the outbox, every metric series, every log line,
and the sockets of each replica.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Logs, Sockets
from seatrial.cluster.brokers import BROKERS
from seatrial.cluster.values import engine_variables
from seatrial.drill import BROKER_NAMES, LOG_PATTERNS, Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts

LINEAR = linear(3)
LOAN = loan()
LINEAR_STARTS = 120
LOAN_STARTS = 20
LOAD_S = 4.0
LOOKS = 8
WORKERS = 2
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "linear": linear_starts(rng, 3, LINEAR_STARTS, over_s=LOAD_S),
        "loan": loan_starts(rng, LOAN_STARTS, over_s=LOAD_S),
        "look_at_s": sorted(round(rng.uniform(0.0, LOAD_S), 3) for _ in range(LOOKS)),
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR, LOAN)
    context.workers.start(together(LINEAR, LOAN), WORKERS)
    context.people()
    context.phase("load")
    loads = context.spawn(context.race(context.load(context.schedule[name]) for name in ("linear", "loan")))
    for at_s in context.schedule["look_at_s"]:
        await context.at(at_s)
        await _look(context)
    await loads
    context.phase("drain")
    await context.drain(DRAIN_S)
    await _look(context)


async def _look(context: ScenarioContext) -> None:
    sockets = context.ability(Sockets)
    for name in context.names:
        peers = await sockets.peers(name)
        context.recorder.info("observer", "sockets", {"node": name, "peers": peers}, name)
    # A relay's rows come and go: counting only at the end would miss them.
    rows = await context.query("SELECT count(*) FROM dispatch_outbox")
    context.recorder.info("observer", "table_count", {"table": "dispatch_outbox", "rows": rows[0][0]})


DRILL = Drill(
    id="M4",
    title="Polling mode without a trace of Kafka",
    promise="In the default mode the outbox stays empty, and no metric, log line or socket involves a broker.",
    checks=("MP", "NL", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "broker_names": sorted(BROKERS),
        "error_statuses_allowed": [],
        "ops_min": LINEAR_STARTS,
    },
    needs=(Database, Logs, Sockets),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    core=True,
    bound_s=90.0,
    log_patterns=(*LOG_PATTERNS, BROKER_NAMES),
)

"""M4: the default mode, with nothing said about it, has no trace of a broker (quickstart Path A, contract 12.2).

Looked at while work goes on and after it: the rows ever written to the outbox, every metric series, every log line,
and the sockets of each replica.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import Database, Logs, Sockets
from seatrial.drill import LOG_PATTERNS, Drill
from seatrial.stage import Stage
from seatrial.workload import together
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import loan, loan_starts
from seatrial.yard import environment

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


async def scenario(stage: Stage) -> None:
    await stage.upload(LINEAR, LOAN)
    stage.workers.start(together(LINEAR, LOAN), WORKERS)
    stage.people()
    stage.phase("load")
    loads = stage.spawn(stage.race(stage.load(stage.schedule[name]) for name in ("linear", "loan")))
    for at_s in stage.schedule["look_at_s"]:
        await stage.at(at_s)
        await _look(stage)
    await loads
    stage.phase("drain")
    await stage.drain(DRAIN_S)
    await _look(stage)


async def _look(stage: Stage) -> None:
    assert isinstance(stage.cluster, Sockets)
    for name in stage.names:
        peers = await stage.cluster.peers(name)
        stage.recorder.info("observer", "sockets", {"node": name, "peers": peers}, name)
    # A relay's rows come and go: a count at the end alone would miss them.
    rows = await stage.query("SELECT count(*) FROM dispatch_outbox")
    stage.recorder.info("observer", "table_count", {"table": "dispatch_outbox", "rows": rows[0][0]})


DRILL = Drill(
    id="M4",
    title="Polling mode without a trace of Kafka",
    promise="In the default mode the outbox stays empty and neither metric, log line nor socket knows of a broker.",
    checks=("MP", "NL", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "ops_min": LINEAR_STARTS,
    },
    needs=(Database, Logs, Sockets),
    values=environment(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=0.5),
    core=True,
    bound_s=90.0,
    log_patterns=(*LOG_PATTERNS, "(?i)kafka"),
)

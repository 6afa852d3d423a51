"""N7: a soak. What leaks a kilobyte a call, keeps a descriptor of each lost connection or leaves dead rows that nobody
cleans up is invisible in a drill of half a minute. The load is seven tenths of what this machine can do, measured at
the start. Three minutes by default; SEATRIAL_SOAK_S makes it as long as one likes: half an hour is the long form.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database, Restarts
from seatrial.cluster.resources import Resources
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.history import OBSERVER
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear
from seatrial.workload.soak import Soak

VARIABLE = "SEATRIAL_SOAK_S"
SOAK_S = float(os.environ.get(VARIABLE) or 170)
STEADY = linear(1, name="steady")
LOAD_SHARE = 0.7
FASTEST_FOR_S = 12.0
CALLERS = 32
IN_HAND_MAX = 256
WORKERS = 4
SAMPLES = 60
REPLICAS = 2
DRAIN_S = 30.0
#: beside the soak itself
AROUND_S = 70.0

_ROWS = "SELECT coalesce(sum(n_live_tup), 0)::bigint, coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables"
_LEFT = """SELECT count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status <> 'COMPLETED')
           FROM workflow_instance"""


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"soak_s": SOAK_S, "load_share": LOAD_SHARE, "draw": rng.random()}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(STEADY)
    (job_type,) = STEADY.job_types()
    soak, ready = Soak(context.replicas, f"{STEADY.name}-1", job_type, WORKERS), asyncio.Event()
    running = context.spawn(soak.run(ready))
    await ready.wait()
    fastest_per_s = await soak.as_fast_as_possible(FASTEST_FOR_S, CALLERS)
    every_s = SOAK_S / SAMPLES
    context.watch_resources(every_s=every_s)
    context.phase("load")
    soak.sample()
    load = context.spawn(soak.at_pace(LOAD_SHARE * fastest_per_s, SOAK_S, IN_HAND_MAX))
    for number in range(1, SAMPLES + 1):
        await context.at(number * every_s)
        ((live, dead),) = await context.query(_ROWS)
        row = {**soak.sample(), "live_rows": int(live), "dead_rows": int(dead)}
        context.recorder.info(OBSERVER, "soak", row)
    await load
    context.phase("drain")
    await context.drain(DRAIN_S)
    running.cancel()
    ((completed, unfinished),) = await context.query(_LEFT)
    end = {"acknowledged": soak.started, "completed": int(completed), "unfinished": int(unfinished)}
    context.recorder.info(OBSERVER, "soak_end", end)
    # So many rows are no history.
    await context.query("TRUNCATE workflow_instance CASCADE")


DRILL = Drill(
    id="N7",
    title="A soak at seven tenths of full load",
    promise="However long a node runs, it takes no more memory, descriptors, log or time for each call.",
    checks=("FLAT", "MEM", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "error_statuses_allowed": [],
        # Seven tenths of a machine's best leave little room when something else runs on it for a while.
        "p99_floor_ms": 250,
        "completed_min": round(SOAK_S * 5),
        "ops_min": 0,
    },
    needs=(Database, Resources, Restarts),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    replicas=REPLICAS,
    restart=True,
    bound_s=SOAK_S + AROUND_S,
)

"""P6: one connection to the database, and many branches that meet in wide joins. Where a join takes a second
connection while its transaction holds the first (contract 11 row 6), as many concurrent joins as the pool has
connections deadlock. The smallest possible pool makes it certain. Notifications would need a connection of their own,
so they are off too, and waiting polls must find jobs of other replicas by themselves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start, WorkerSpec, Workload, together
from seatrial.workload.linear import linear

BRANCHES = 16
INSTANCES = 60
LOAD_S = 4.0
#: one job after the other, each created at any replica, while nothing else happens
SERIAL_STEPS = 20
REPLICAS = 3
POOL_CONNECTIONS = 1
#: for the listener, which is off here, and for what a boot migrates with
APART = 2
WORKERS = 2
SLOTS = 32
#: so long that a job found only at the end of a poll comes too late
WAIT_S = 8.0
LEASE_S = 30
DRAIN_S = 25.0


def wide(branches: int) -> Workload:
    """A gateway whose branches meet in one join."""
    heads = [f"branch-{number:02d}" for number in range(branches)]
    definition = {
        "id": "wide",
        "name": f"{branches} branches and one join",
        "steps": [
            {"id": "fork", "name": "Fork", "type": "PARALLEL_GATEWAY", "parallelNextSteps": heads, "joinStep": "join"},
            *(
                {"id": head, "name": head, "type": "SERVICE_TASK", "jobType": "wide-branch", "nextStep": "join"}
                for head in heads
            ),
            {"id": "join", "name": "Join", "type": "JOIN_GATEWAY", "nextStep": "done"},
            {"id": "done", "name": "Done", "type": "END"},
        ],
    }  # fmt: skip
    return Workload(
        name="wide",
        definitions=(definition,),
        handlers={"wide-branch": Handler()},
        visits=lambda _start: {"fork": 1, **dict.fromkeys(heads, 1), "join": branches, "done": 1},
    )


WIDE = wide(BRANCHES)
SERIAL = linear(SERIAL_STEPS)


def plan(rng: random.Random) -> Mapping[str, Any]:
    instants = sorted(round(rng.uniform(0.0, LOAD_S), 4) for _ in range(INSTANCES))
    return {
        "wide": tuple(
            Start("wide", f"wide-{number:04d}", {"amount": rng.randrange(1, 10_000)}, at_s)
            for number, at_s in enumerate(instants)
        ),
        "serial": (Start(f"linear-{SERIAL_STEPS}", "serial", {}, LOAD_S),),
    }


async def scenario(context: ScenarioContext) -> None:
    context.watch_sessions()
    await context.upload(WIDE, SERIAL)
    worker: WorkerSpec = together(WIDE, SERIAL, slots=SLOTS, lease_s=LEASE_S, wait_s=WAIT_S)
    context.workers.start(worker, WORKERS)
    context.phase("load")
    await context.race(context.load(context.schedule[name]) for name in ("wide", "serial"))
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="P6",
    title="Wide joins on a pool of one connection",
    promise="Even with the smallest pool, joins of many branches never wait for each other's connections.",
    checks=("LV", "NL", "S1x", "CB", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "ops_min": INSTANCES,
        "connections_max": REPLICAS * (POOL_CONNECTIONS + APART),
        "connections_per_node_max": POOL_CONNECTIONS + APART,
        "nodes_connected_min": REPLICAS,
    },
    values={
        "engine": {"db": {"maxConns": POOL_CONNECTIONS}},
        **engine_variables(
            WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1, WINDLASS_WAKE_MODE="polling"
        ),
    },
    needs=(Database,),
    replicas=REPLICAS,
    bound_s=120.0,
)

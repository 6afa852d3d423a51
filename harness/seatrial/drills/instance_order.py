"""O1: transactions race for one instance at three replicas, and the jobs that they create wait in the outbox
together.

Where the outbox is sorted by the time at which a transaction began, one that began first and waited for the instance
is published before the one that locked it first (contract 11 row 17). And where a relay continues after its lock
session is gone, a later batch can overtake an earlier one (row 18). Here every instance has branches whose steps
share one topic;
they are completed together while the broker is cut off, and the leader loses its session while the backlog drains.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.client import Job
from seatrial.cluster.ability import Database, Kill
from seatrial.cluster.broker import Broker, BrokerProcess
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.broker import CutBroker
from seatrial.fault.database import TerminateLeaderSession
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, Start, Workload

BRANCHES = 6
INSTANCES = 16
JOB_TYPE = "braided"
REDELIVERY_S = 20.0
DRAIN_S = 90.0


def _step(step_id: str, following: str) -> Mapping[str, Any]:
    return {
        "id": step_id,
        "name": step_id,
        "type": "SERVICE_TASK",
        "jobType": JOB_TYPE,
        "nextStep": following,
    }


BRAID = Workload(
    name="braid",
    definitions=(
        {
            "id": "braid",
            "name": "Branches whose steps share a topic",
            "steps": [
                {
                    "id": "fork",
                    "name": "fork",
                    "type": "PARALLEL_GATEWAY",
                    "parallelNextSteps": [f"first-{branch}" for branch in range(BRANCHES)],
                    "joinStep": "join",
                },
                *(_step(f"first-{branch}", f"second-{branch}") for branch in range(BRANCHES)),
                *(_step(f"second-{branch}", "join") for branch in range(BRANCHES)),
                {"id": "join", "name": "join", "type": "JOIN_GATEWAY", "nextStep": "done"},
                {"id": "done", "name": "done", "type": "END"},
            ],
        },
    ),
    handlers={JOB_TYPE: Handler()},
    visits=lambda _start: {
        "fork": 1,
        **{f"{row}-{branch}": 1 for row in ("first", "second") for branch in range(BRANCHES)},
        "join": BRANCHES,
        "done": 1,
    },
)


def plan(rng: random.Random) -> Mapping[str, Any]:
    order = [(instance, branch) for instance in range(INSTANCES) for branch in range(BRANCHES)]
    rng.shuffle(order)
    return {
        "starts": [Start("braid", f"braid-{number:03d}", {"number": number}) for number in range(INSTANCES)],
        "replica_of": [rng.randrange(1 << 16) for _ in order],
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(BRAID)
    leader = await context.leader()
    context.phase("load")
    await context.load(context.schedule["starts"])
    context.phase("fault")
    async with context.inflicted(CutBroker("refuse")):
        await _complete_heads_together(context)
    await context.fault(TerminateLeaderSession(leader))
    context.phase("heal")
    context.workers.start(BRAID.worker(), 4)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _complete_heads_together(context: ScenarioContext) -> None:
    """Completes the first step of each branch with a client of its own, at replicas drawn beforehand."""
    rows = await context.query(
        """SELECT j.id, j.instance_id, j.step_execution_id, j.job_type, j.retries_remaining
        FROM job AS j JOIN step_execution AS s ON s.id = j.step_execution_id
        WHERE j.status = 'UNLOCKED' AND s.step_id LIKE 'first-%%' ORDER BY s.step_id, j.id"""
    )
    jobs = [Job(*row) for row in rows]
    names, draws = context.names, context.schedule["replica_of"]
    racers = [context.worker_client(f"racer-{number}") for number in range(len(jobs))]
    await context.race(
        racer.complete(job, racer.process, {}, replica=names[draws[number] % len(names)])
        for number, (racer, job) in enumerate(zip(racers, jobs, strict=True))
    )


DRILL = Drill(
    id="O1",
    title="Racing jobs of one instance wait for the broker together",
    promise="The jobs of one instance reach their topic in the order of their creation, whoever leads (contract 6.3).",
    checks=("PO", "OC", "LD", "NL", "NP", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "redelivery_s": REDELIVERY_S,
        "recovery_bound_s": 20,
        "error_statuses_allowed": [0, 503],
        "errors_only_during_fault": True,
        "faults_min": 2,
        "ops_min": INSTANCES * BRANCHES,
        "circumstances_min": {"rows_waiting_together": INSTANCES},
    },
    needs=(Database, Broker, BrokerProcess, Kill),
    values=engine_variables(
        WINDLASS_LEASE_SWEEP_SECONDS=1,
        WINDLASS_TIMER_SWEEP_SECONDS=1,
        WINDLASS_REDELIVERY_SECONDS=REDELIVERY_S,
    ),
    mode="kafka",
    bound_s=180.0,
)

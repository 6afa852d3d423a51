"""L4: one job completed many times at once, through different replicas; its instance moves on once.

A client that loses an answer sends again, and a load balancer sends the repeat to another node. An engine that reads
the job's status without a lock dispatches the next step twice if two completions arrive together (contract 11 row 1).
Here 2 to 32 arrive together, each with its own mark in the variables.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.client import Job
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2)
RACED, FOLLOWING = LINEAR.handlers
JOBS = 90
RACERS_MIN, RACERS_MAX = 2, 32
JOBS_AT_ONCE = 5
LEASE_S = 30
HOLDER = "racer"
POLL_WAIT_S = 0.5
ALL_LEASED_WITHIN_S = 15.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, JOBS),
        "racers": [rng.randint(RACERS_MIN, RACERS_MAX) for _ in range(JOBS)],
        "first_replica": [rng.randrange(1 << 16) for _ in range(JOBS)],
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    following = LINEAR.worker(handlers={FOLLOWING: LINEAR.handlers[FOLLOWING]}, lease_s=LEASE_S)
    context.workers.start(following)
    context.phase("load")
    await context.load(context.schedule["starts"])
    jobs = await _lease_all(context)
    await _race_all(context, jobs)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def kafka_scenario(context: ScenarioContext) -> None:
    """Nobody consumes these jobs: the completions are sent as if by consumers that all got the message."""
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(handlers={FOLLOWING: LINEAR.handlers[FOLLOWING]}))
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    rows = await context.query(
        """SELECT id, instance_id, step_execution_id, job_type, retries_remaining
        FROM job WHERE job_type = %s ORDER BY id""",
        RACED,
    )
    await _race_all(context, [Job(*row) for row in rows])
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _race_all(context: ScenarioContext, jobs: Sequence[Job]) -> None:
    for first in range(0, len(jobs), JOBS_AT_ONCE):
        await context.race(
            _race(context, job, number)
            for number, job in enumerate(jobs[first : first + JOBS_AT_ONCE], first)
        )


async def _lease_all(context: ScenarioContext) -> Sequence[Job]:
    poller = context.worker_client(HOLDER)
    jobs: list[Job] = []

    async def has_all() -> bool:
        answer = await poller.poll(HOLDER, [RACED], max_jobs=JOBS, lease_s=LEASE_S, wait_s=POLL_WAIT_S)
        jobs.extend(answer.jobs)
        return len(jobs) >= JOBS

    await context.eventually(has_all, ALL_LEASED_WITHIN_S, f"{HOLDER} holds {JOBS} jobs")
    return sorted(jobs, key=lambda job: job.job_id)


async def _race(context: ScenarioContext, job: Job, number: int) -> None:
    """A client for each completion: connections of their own, so that nothing queues on our side."""
    count, names = context.schedule["racers"][number], context.names
    racers = [context.worker_client(f"{HOLDER}-{number}-{lane}") for lane in range(count)]
    first = context.schedule["first_replica"][number]
    await context.race(
        racer.complete(job, HOLDER, replica=names[(first + lane) % len(names)])
        for lane, racer in enumerate(racers)
    )


DRILL = Drill(
    id="L4",
    title="One job completed many times at once",
    promise="A job is completed once (contract 5.3): of 2 to 32 concurrent completions, one counts.",
    checks=("S1x", "LX", "NL", "NP", "FN", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "ops_min": JOBS,
        "circumstances_min": {"completes_raced": JOBS * 2 // 3},
    },
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    core=True,
    bound_s=90.0,
)

KAFKA = DRILL.through_broker(
    title="One Kafka job completed many times at once",
    promise="A job delivered by Kafka is also completed once, however many completions arrive together (contract 5.3).",
    checks=("S1x", "NL", "NP", "OC", "PO", "LV", "AV"),
    scenario=kafka_scenario,
    redelivery_s=60.0,
    parameters={"republished_max": 0},
)

"""L2: a worker is paused past its lease, others take over its jobs, and it comes back with its answers.

The paused client of Kleppmann's "How to do distributed locking" (martin.kleppmann.com, 2016), a problem of every job
queue with leases (camunda/camunda#56749, payloadcms/payload#17220). Where the holder is not compared (contract 11 row
1) the paused worker wins. Both cases of contract 12.2 occur: the job is still held by the other worker (409), or done
by it (204 without effect).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import Database
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.history import HISTORY_FILE
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

HELD, DONE = linear(1, name="held"), linear(1, name="done")
JOBS_EACH = 12
LEASE_S = 3
SWEEP_S = 1
#: long enough that the worker holds jobs when it is paused
ZOMBIE_THINKS = Handler(1.6, 2.4)
#: of those that must still hold their jobs when the paused worker resumes
HOLDER_LEASE_S = 30
HOLDER_THINKS = Handler(4.0, 5.0)
LEASED_WITHIN_S = 10.0
TAKEN_OVER_WITHIN_S = 20.0
SENT_AGAIN_WITHIN_S = 3.0 * LEASE_S
DRAIN_S = 30.0
KAFKA_JOBS = 2 * JOBS_EACH


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": [
            start
            for name in ("held", "done")
            for start in linear_starts(rng, 1, JOBS_EACH, over_s=0.2, name=name)
        ]
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(HELD, DONE)
    both = dict.fromkeys([*HELD.handlers, *DONE.handlers], ZOMBIE_THINKS)
    (zombie,) = context.workers.start(HELD.worker(handlers=both, slots=2 * JOBS_EACH, lease_s=LEASE_S))
    context.phase("load")
    await context.load(context.schedule["starts"])
    zombie_id = context.workers[zombie].worker_id

    async def zombie_has_all() -> bool:
        return await _count(context, "LOCKED", zombie_id) == 2 * JOBS_EACH

    async def others_have_all() -> bool:
        return await _count(context, "LOCKED", zombie_id) + await _count(context, "UNLOCKED", None) == 0

    await context.eventually(zombie_has_all, LEASED_WITHIN_S, f"{zombie_id} holds all jobs")
    context.phase("fault")
    await context.workers.pause(zombie)
    slow = HELD.worker(
        handlers=dict.fromkeys(HELD.handlers, HOLDER_THINKS), slots=JOBS_EACH, lease_s=HOLDER_LEASE_S
    )
    context.workers.start(slow)
    context.workers.start(DONE.worker(slots=JOBS_EACH, lease_s=HOLDER_LEASE_S))
    # The checks judge an engine that never takes leases back, so this must not end the drill.
    await context.reached(others_have_all, TAKEN_OVER_WITHIN_S)
    await context.workers.resume(zombie)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def kafka_scenario(context: ScenarioContext) -> None:
    """The paused worker holds one message of each type; the engine sends again, and its group reassigns its
    partitions.
    """
    await context.upload(HELD, DONE)
    both = dict.fromkeys([*HELD.handlers, *DONE.handlers], ZOMBIE_THINKS)
    (zombie,) = context.workers.start(HELD.worker(handlers=both, session_timeout_s=1.5))
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    await context.eventually(lambda: _has_executed(context), LEASED_WITHIN_S, "the zombie works on a message")
    context.phase("fault")
    await context.workers.pause(zombie)
    # Quick workers would finish everything before anything is due. The checks judge an engine that never sends again.
    await context.reached(lambda: _sent_again(context), SENT_AGAIN_WITHIN_S)
    context.workers.start(HELD.worker(handlers={**HELD.handlers, **DONE.handlers}, session_timeout_s=1.5), 2)
    await context.drain(TAKEN_OVER_WITHIN_S)
    await context.workers.resume(zombie)
    context.phase("drain")
    await context.drain(DRAIN_S)


def _has_executed(context: ScenarioContext) -> bool:
    history = (context.folder / HISTORY_FILE).read_bytes()
    return b'"f":"execute"' in history


async def _sent_again(context: ScenarioContext) -> bool:
    return bool(
        await context.query(
            """SELECT FROM seatrial.outbox_audit WHERE what = 'enqueued'
            GROUP BY job_id HAVING count(*) > 1 LIMIT 1"""
        )
    )


async def _count(context: ScenarioContext, status: str, worker_id: str | None) -> int:
    """Jobs in that state; with a worker, those that name it."""
    rows = await context.query(
        "SELECT count(*) FROM job WHERE status = %s AND (%s::text IS NULL OR worker_id = %s)",
        status,
        worker_id,
        worker_id,
    )
    return int(rows[0][0])


DRILL = Drill(
    id="L2",
    title="A paused worker comes back after its lease",
    promise="The lease is a durable row (contract 1.6): a worker that lost it is refused and changes nothing.",
    checks=("FN", "LX", "NL", "NP", "S1x", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": SWEEP_S,
        "stale_expected": True,
        "error_statuses_allowed": [409],
        "ops_min": 2 * JOBS_EACH,
        "faults_min": 1,
        "circumstances_min": {"leases_lapsed": JOBS_EACH},
    },
    needs=(Database,),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=1),
    core=True,
    on_compose=True,
    bound_s=100.0,
)

KAFKA = DRILL.through_broker(
    title="A paused Kafka worker comes back after its job was sent again",
    promise="A job that its worker does not finish is sent to another; the late answer of the first changes nothing.",
    checks=("NL", "NP", "S1x", "DB", "OC", "PO", "LV", "AV"),
    scenario=kafka_scenario,
    redelivery_s=float(LEASE_S),
    parameters={
        "ops_min": KAFKA_JOBS,
        "error_statuses_allowed": [0, 409],
        "circumstances_min": {"redeliveries": 1, "deliveries_moved": 1},
    },
)

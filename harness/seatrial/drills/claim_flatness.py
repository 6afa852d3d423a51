"""P4: the cost of a claim, from a thousand waiting jobs to a million.

Where the index lacks the column that a poll orders by, each poll sorts the whole backlog (contract 11 row 26). Time on
a shared machine is a figure; the verdict is on what the database counted: pages of the job table and its indexes, and
rows and index entries read, for each job that a poll brought. Its counters say so of any engine, whatever its SQL.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from seatrial.client import CallFailed
from seatrial.cluster.ability import Database
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import NotReached, ScenarioContext

JOB_TYPE = "backlog"
LEVELS = (1_000, 10_000, 100_000, 1_000_000)
POLLS = 20
LEASE_S = 3600
POLL_TIMEOUT_S = 60.0
GROWTH_BOUND_RATIO = 2.0
COUNTED_WITHIN_S = 15.0

#: past foreign keys: the jobs need no instance to be claimed
_BACKLOG = """
    INSERT INTO job (id, instance_id, step_execution_id, step_id, job_type, status, payload, created_at)
    SELECT 'wait-' || lpad(n::text, 8, '0'), 'none', 'none', 'none', %s, 'UNLOCKED', '{}',
           timestamptz '2020-01-01' + n * interval '1 second'
    FROM generate_series(%s::integer, %s::integer) AS n"""
_COST = """
    SELECT (SELECT heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)
            FROM pg_statio_user_tables WHERE relname = 'job'),
           (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'job')
           + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'job')"""


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"waiting": LEVELS, "polls": POLLS, "jobs_per_poll": [rng.randrange(5, 15) for _ in range(POLLS)]}


async def scenario(context: ScenarioContext) -> None:
    # Its own reads of the table would be counted too.
    await context.query("ALTER TABLE job SET (autovacuum_enabled = false)")
    context.phase("load")
    filled = 0
    for waiting in context.schedule["waiting"]:
        await _fill(context, filled + 1, waiting)
        filled = waiting
        await _measure(context, waiting)
    context.phase("drain")
    # Jobs without an instance cannot be judged, and a million of them should not be recorded.
    await context.query("TRUNCATE job CASCADE")


async def _fill(context: ScenarioContext, first: int, last: int) -> None:
    await context.query(
        f"""DO $$ BEGIN
            SET LOCAL session_replication_role = replica;
            {_BACKLOG % (f"'{JOB_TYPE}'", first, last)};
        END $$"""
    )
    await context.query("VACUUM (ANALYZE) job")


async def _measure(context: ScenarioContext, waiting: int) -> None:
    """The counters of a session reach everybody when it ends, so each measurement begins and ends with that."""
    replica = context.names[0]
    await _publish_counters(context, replica)
    before = (await context.query(_COST))[0]
    client = context.worker_client(f"claims-{waiting}", timeout_s=POLL_TIMEOUT_S)
    jobs, polls_ms = 0, []
    for number, most in enumerate(context.schedule["jobs_per_poll"]):
        began_s = time.monotonic()
        answer = await client.poll("claimer", [JOB_TYPE], max_jobs=most, lease_s=LEASE_S, replica=replica)
        if not answer.ok:
            raise CallFailed(answer)
        if number:  # the first one opens its session, which has nothing to do with the backlog
            polls_ms.append(round((time.monotonic() - began_s) * 1000, 3))
        jobs += len(answer.jobs)
    await _publish_counters(context, replica)
    after = (await context.query(_COST))[0]
    cost = {"buffers": int(after[0] - before[0]), "rows": int(after[1] - before[1])}
    if not cost["buffers"]:
        raise NotReached(f"the database counted no page for {jobs} claimed jobs")
    context.recorder.info(
        "observer", "claim_cost", {"waiting": waiting, "jobs": jobs, "polls_ms": polls_ms, **cost}, replica
    )


async def _publish_counters(context: ScenarioContext, replica: str) -> None:
    await context.ability(Database).terminate_sessions(replica)

    async def is_back() -> bool:
        return (await context.probe(replica, "/ready")).status == 200

    await context.eventually(is_back, COUNTED_WITHIN_S, f"{replica} has sessions again")


DRILL = Drill(
    id="P4",
    title="Claims with a million jobs waiting",
    promise="A claim touches as many pages and rows with a million jobs waiting as with a thousand.",
    checks=("CC", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "claim_growth_bound_ratio": GROWTH_BOUND_RATIO,
        "error_statuses_allowed": [],
        "ops_min": 0,
    },
    needs=(Database,),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=3600, WINDLASS_TIMER_SWEEP_SECONDS=3600),
    replicas=1,
    bound_s=240.0,
)

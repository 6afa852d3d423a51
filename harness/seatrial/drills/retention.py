"""D8 and X6: instances that finished long ago go while others run, on every replica at once.

The same load runs four times: without retention beside it, with it, and both once more, so that a machine that becomes
slower for other reasons does so for both. What is to go, and what must stay, is written straight into the tables: it
takes rows of an hour ago. They are aged bit by bit, so that the replicas have something to remove all the time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace as another
from typing import Any

from msgspec.structs import replace

from seatrial.cluster.ability import Database, Schedulers
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2)
STARTS_PER_S = 30
WINDOW_S = 4.0
WINDOWS = (False, True, False, True)
SLICES = 8
DUE_PER_SLICE = 250
DUE = sum(WINDOWS) * SLICES * DUE_PER_SLICE
KEPT = 500
#: 14.4 minutes: longer than the drill, shorter than the age that rows get
RETENTION_DAYS = 0.01
WORKERS = 2
LEASE_S = 30
GONE_WITHIN_S = 30.0
DRAIN_S = 20.0

#: rows of each instance that is written into the tables
ROWS = {
    "workflow_instance": 1,
    "step_execution": 2,
    "job": 1,
    "user_task": 1,
    "boundary_event_schedule": 1,
    "windlass_job_dispatch": 1,
    "audit_log": 3,
}
_OWNER = {"workflow_instance": "id", "windlass_job_dispatch": "job_id"}
#: name, how many, whether they go, status, and how long ago they began
KINDS = (
    ("due", DUE, True, "COMPLETED", "0 s"),
    ("failed-lately", KEPT, False, "FAILED", "1 h"),
    ("running", KEPT, False, "WAITING", "1 h"),
)
_FILL = """DO $$ BEGIN
    SET LOCAL session_replication_role = replica;
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT '{kind}-' || n AS id FROM generate_series(1, {count}) AS n;
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, progress, started_at, completed_at)
    SELECT id, 'none', 1, '{status}', '{{}}', now() - interval '{begun}',
           CASE WHEN '{status}' <> 'WAITING' THEN now() END
    FROM made;
    INSERT INTO step_execution (id, instance_id, step_id, step_type, status)
    SELECT id || '-' || m, id, 'step', 'SERVICE_TASK', 'COMPLETED' FROM made, generate_series(1, 2) AS m;
    INSERT INTO job (id, instance_id, step_execution_id, job_type, status)
    SELECT id, id, id || '-1', 'none', 'COMPLETED' FROM made;
    INSERT INTO user_task (id, instance_id, step_execution_id, step_id)
    SELECT id, id, id || '-2', 'step' FROM made;
    INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, fire_at, fired)
    SELECT id, id, id || '-2', 'step', now(), true FROM made;
    INSERT INTO windlass_job_dispatch (job_id, deliveries) SELECT id, 1 FROM made;
    INSERT INTO audit_log (actor, kind, instance_id)
    SELECT 'drill', 'drill', id FROM made, generate_series(1, 3);
END $$"""
_AGE = """
    UPDATE workflow_instance
    SET started_at = started_at - interval '1 h', completed_at = completed_at - interval '1 h'
    WHERE id IN (SELECT 'due-' || n FROM generate_series(%s::integer, %s::integer) AS n)"""

_CLEAR = """DO $$ BEGIN
    SET LOCAL session_replication_role = replica;
    DELETE FROM {table} WHERE {owner} ~ '^(due|failed-lately|running)-';
END $$"""
_LEFT = "SELECT count(*) FROM {table} WHERE {owner} ~ '^{kind}-'"


def plan(rng: random.Random) -> Mapping[str, Any]:
    """The starts of each window, timed from its beginning."""
    return {
        "windows": tuple(
            tuple(
                replace(start, key=f"{number}-{start.key}")
                for start in linear_starts(rng, 2, round(WINDOW_S * STARTS_PER_S), over_s=WINDOW_S)
            )
            for number, _ in enumerate(WINDOWS)
        )
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    for kind, count, _, status, begun in KINDS:
        await context.query(_FILL.format(kind=kind, count=count, status=status, begun=begun))
    context.workers.start(LINEAR.worker(lease_s=LEASE_S), WORKERS)
    context.phase("load")
    zero_s = time.monotonic()
    aged = 0
    for prunes, starts in zip(WINDOWS, context.schedule["windows"], strict=True):
        context.recorder.info("observer", "retention_window", {"prunes": prunes})
        now_s = time.monotonic() - zero_s
        load = context.spawn(context.load([replace(start, at_s=now_s + start.at_s) for start in starts]))
        for number in range(SLICES if prunes else 0):
            await context.query(_AGE, aged + 1, aged + DUE_PER_SLICE)
            aged += DUE_PER_SLICE
            await context.at(now_s + (number + 1) * WINDOW_S / SLICES)
        await load
        # A window has its own jobs: what it left would count for the next one.
        await context.reached(lambda: _is_done(context), DRAIN_S)
        context.recorder.info("observer", "retention_window", {"prunes": None})
        await context.reached(lambda: _has_gone(context), GONE_WITHIN_S)
    context.phase("drain")
    for kind, count, goes, _, _ in KINDS:
        left = {table: await _left(context, table, kind) for table in ROWS}
        row = {"kind": kind, "instances": count, "goes": goes, "rows": ROWS, "left": left}
        context.recorder.info("observer", "retention", row)
    # What the load made is judged by the checks of every drill; these rows no call has made.
    for table in reversed(ROWS):
        await context.query(_CLEAR.format(table=table, owner=_OWNER.get(table, "instance_id")))
    await context.drain(DRAIN_S)


async def _is_done(context: ScenarioContext) -> bool:
    """No instance of the load is open."""
    rows = await context.query(
        "SELECT count(*) FROM workflow_instance WHERE status IN ('ACTIVE', 'WAITING') AND definition_id <> 'none'"
    )
    return bool(rows[0][0] == 0)


async def _has_gone(context: ScenarioContext) -> bool:
    """Nothing that was aged is left."""
    rows = await context.query(
        "SELECT count(*) FROM workflow_instance WHERE id ~ '^due-' AND completed_at < now() - interval '30 min'"
    )
    return bool(rows[0][0] == 0)


async def _left(context: ScenarioContext, table: str, kind: str) -> int:
    rows = await context.query(_LEFT.format(table=table, owner=_OWNER.get(table, "instance_id"), kind=kind))
    return int(rows[0][0])


DRILL = Drill(
    id="D8",
    title="Retention beside load",
    promise="What finished long ago goes whole, from several replicas at once, and nobody else notices.",
    checks=("RN", "NL", "NP", "LX", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "retention_due_min": DUE,
        # Ratios of figures taken seconds apart on one machine; the floor is what a busy machine adds by itself.
        "retention_p99_ratio_max": 3.0,
        "retention_p99_floor_ms": 250,
        "retention_rate_ratio_min": 0.5,
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "ops_min": 400,
    },
    needs=(Database,),
    values={
        "engine": {"retentionDays": RETENTION_DAYS},
        **engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    },
    bound_s=180.0,
)

SCHEDULERS = another(
    DRILL,
    id="X6",
    title="Retention by three schedulers at once",
    promise="What finished long ago goes whole and once, although three schedulers remove it at the same time.",
    needs=(Database, Schedulers),
    values=merge(DRILL.values, {"scheduler": {"replicas": 3}}),
)

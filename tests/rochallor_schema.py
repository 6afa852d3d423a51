"""A database as Rochallor makes it: tables, columns and indexes by the contract, not by our own migrations.

Where the contract gives an index only its columns, the name is made of them in the way of the one that is known,
idx_job_status_lock_expires_at.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg

TABLES = """
CREATE TABLE workflow_definition (
    pk bigserial PRIMARY KEY, id text NOT NULL, version int NOT NULL, name text NOT NULL, description text,
    raw_json jsonb NOT NULL, parsed_steps jsonb NOT NULL, auto_start_next_workflow_id text,
    uploaded_at timestamptz NOT NULL DEFAULT now(), uploaded_by text, UNIQUE (id, version));
CREATE TABLE workflow_instance (
    id text PRIMARY KEY, definition_id text NOT NULL, definition_version int NOT NULL, status text NOT NULL,
    current_step_ids text[] NOT NULL DEFAULT '{}', variables jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(), completed_at timestamptz, failure_reason text, business_key text);
CREATE TABLE step_execution (
    id text PRIMARY KEY, instance_id text NOT NULL REFERENCES workflow_instance (id), step_id text NOT NULL,
    step_type text NOT NULL, attempt_number int NOT NULL DEFAULT 1, status text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz, input_snapshot jsonb, output_snapshot jsonb,
    failure_reason text);
CREATE TABLE job (
    id text PRIMARY KEY, instance_id text NOT NULL, step_execution_id text NOT NULL REFERENCES step_execution (id),
    job_type text NOT NULL, status text NOT NULL DEFAULT 'UNLOCKED', worker_id text, locked_at timestamptz,
    lock_expires_at timestamptz, retries_remaining int NOT NULL DEFAULT 0, payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE user_task (
    id text PRIMARY KEY, instance_id text NOT NULL REFERENCES workflow_instance (id),
    step_execution_id text NOT NULL REFERENCES step_execution (id), step_id text NOT NULL,
    status text NOT NULL DEFAULT 'OPEN', assignee text, assignee_group text, payload jsonb, result jsonb,
    created_at timestamptz NOT NULL DEFAULT now(), completed_at timestamptz);
CREATE TABLE boundary_event_schedule (
    id text PRIMARY KEY, instance_id text NOT NULL REFERENCES workflow_instance (id),
    step_execution_id text NOT NULL REFERENCES step_execution (id), target_step_id text NOT NULL,
    fire_at timestamptz NOT NULL, interrupting bool NOT NULL DEFAULT false, fired bool NOT NULL DEFAULT false);
CREATE TABLE audit_log (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, kind text NOT NULL,
    instance_id text, detail jsonb);
CREATE TABLE dispatch_outbox (
    id text PRIMARY KEY, job_id text NOT NULL REFERENCES job (id), instance_id text NOT NULL, job_type text NOT NULL,
    payload bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
"""
INDEXES = {
    "idx_workflow_definition_id": "workflow_definition (id)",
    "idx_workflow_definition_uploaded_at": "workflow_definition (uploaded_at DESC)",
    "idx_workflow_instance_definition_id_status": "workflow_instance (definition_id, status)",
    "idx_workflow_instance_business_key": "workflow_instance (business_key)",
    "idx_workflow_instance_started_at": "workflow_instance (started_at DESC)",
    "idx_step_execution_instance_id_started_at": "step_execution (instance_id, started_at)",
    "idx_step_execution_instance_step_attempt": "step_execution (instance_id, step_id, attempt_number)",
    "idx_job_status_job_type": "job (status, job_type) WHERE status = 'UNLOCKED'",
    "idx_job_lock_expires_at": "job (lock_expires_at) WHERE status = 'LOCKED'",
    "idx_job_status_locked_at": "job (status, locked_at)",
    "idx_job_status_lock_expires_at": "job (status, lock_expires_at)",
    "idx_user_task_instance_id": "user_task (instance_id)",
    "idx_user_task_open": "user_task (status) WHERE status = 'OPEN'",
    "idx_boundary_event_schedule_fire_at": "boundary_event_schedule (fire_at) WHERE NOT fired",
    "idx_audit_log_instance_id": "audit_log (instance_id) WHERE instance_id IS NOT NULL",
    "idx_audit_log_kind_at": "audit_log (kind, at DESC)",
    "idx_dispatch_outbox_created_at": "dispatch_outbox (created_at)",
}
LATER = {
    10: "CREATE UNIQUE INDEX uniq_workflow_instance_bk_def_active ON workflow_instance (business_key, definition_id)"
    " WHERE business_key IS NOT NULL AND status IN ('ACTIVE', 'WAITING')",
    11: """
    CREATE TABLE workflow_chain (
        source_instance_id text PRIMARY KEY REFERENCES workflow_instance (id), target_definition_id text NOT NULL,
        variables jsonb NOT NULL, business_key text, child_instance_id text REFERENCES workflow_instance (id),
        created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX idx_workflow_chain_pending ON workflow_chain (created_at, source_instance_id)
        WHERE child_instance_id IS NULL""",
}


async def made_by_rochallor(owner_dsn: str, version: int) -> None:
    """An empty database at its schema 9, 10 or 11."""
    async with await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as connection:
        statements = [
            TABLES,
            *(f"CREATE INDEX {name} ON {on}" for name, on in INDEXES.items()),
            *(text for number, text in LATER.items() if number <= version),
            f"INSERT INTO schema_migrations VALUES ({version}, false)",
        ]
        for statement in statements:
            await connection.execute(statement.encode())


# -- rows as that engine writes them


def _step(id_: str, kind: str, next_: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": kind, **more} | ({"nextStep": next_} if next_ else {})


STEPS = [
    _step("route", "DECISION", conditionalNextSteps={"way == 'fork'": "fork", "way != 'fork'": "work"}),
    _step("work", "SERVICE_TASK", "check", jobType="work", retryCount=2),
    _step(
        "check",
        "USER_TASK",
        "wait",
        boundaryEvents=[{"type": "TIMER", "duration": "PT1H", "interrupting": True, "targetStepId": "late"}],
    ),
    _step("late", "SERVICE_TASK", "end", jobType="late"),
    _step("wait", "WAIT", "end"),
    _step("fork", "PARALLEL_GATEWAY", parallelNextSteps=["left", "right"], joinStep="join"),
    _step("left", "SERVICE_TASK", "join", jobType="left"),
    _step("right", "SERVICE_TASK", "join", jobType="right"),
    _step("join", "JOIN_GATEWAY", "end"),
    _step("end", "END"),
]
DOCUMENT = {"id": "order", "name": "Order", "version": 1, "steps": STEPS}
#: Instance, its status and current steps; then executions, jobs, user tasks and timers as they hang on it.
_INSTANCES = {
    "I-UNLOCKED": ("ACTIVE", "{work}"),
    "I-LOCKED": ("ACTIVE", "{work}"),
    "I-EXPIRED": ("ACTIVE", "{work}"),
    "I-TASK": ("WAITING", "{check}"),
    "I-DUE": ("WAITING", "{check}"),
    "I-WAIT": ("WAITING", "{wait}"),
    "I-JOIN": ("ACTIVE", "{right,join}"),
    "I-CANCELLED": ("CANCELLED", "{work}"),
}
_EXECUTIONS = [
    # id, instance, step, type, status
    ("S-UNLOCKED", "I-UNLOCKED", "work", "SERVICE_TASK", "RUNNING"),
    ("S-LOCKED", "I-LOCKED", "work", "SERVICE_TASK", "RUNNING"),
    ("S-EXPIRED", "I-EXPIRED", "work", "SERVICE_TASK", "RUNNING"),
    ("S-TASK-1", "I-TASK", "work", "SERVICE_TASK", "COMPLETED"),
    ("S-TASK-2", "I-TASK", "check", "USER_TASK", "RUNNING"),
    ("S-DUE", "I-DUE", "check", "USER_TASK", "RUNNING"),
    ("S-WAIT-1", "I-WAIT", "check", "USER_TASK", "COMPLETED"),
    ("S-WAIT-2", "I-WAIT", "wait", "WAIT", "RUNNING"),
    ("S-JOIN-1", "I-JOIN", "fork", "PARALLEL_GATEWAY", "COMPLETED"),
    ("S-JOIN-2", "I-JOIN", "left", "SERVICE_TASK", "COMPLETED"),
    ("S-JOIN-3", "I-JOIN", "right", "SERVICE_TASK", "RUNNING"),
    ("S-JOIN-4", "I-JOIN", "join", "JOIN_GATEWAY", "COMPLETED"),
    ("S-CANCELLED", "I-CANCELLED", "work", "SERVICE_TASK", "RUNNING"),
]
_JOBS = [
    # id, instance, execution, type, status, worker, seconds until the lease ends, retries
    # The newer engine keeps a row of each delivery: a retry and a swept lease before the one that waits.
    ("J-UNLOCKED-1", "I-UNLOCKED", "S-UNLOCKED", "work", "FAILED", "w1", -90, 2),
    ("J-UNLOCKED-2", "I-UNLOCKED", "S-UNLOCKED", "work", "CANCELLED", "w1", -60, 1),
    ("J-UNLOCKED-3", "I-UNLOCKED", "S-UNLOCKED", "work", "UNLOCKED", None, None, 1),
    ("J-LOCKED", "I-LOCKED", "S-LOCKED", "work", "LOCKED", "w1", 30, 2),
    ("J-EXPIRED", "I-EXPIRED", "S-EXPIRED", "work", "LOCKED", "w1", -5, 2),
    ("J-TASK", "I-TASK", "S-TASK-1", "work", "COMPLETED", "w1", -60, 2),
    ("J-JOIN-1", "I-JOIN", "S-JOIN-2", "left", "COMPLETED", "w1", -60, 0),
    ("J-JOIN-2", "I-JOIN", "S-JOIN-3", "right", "UNLOCKED", None, None, 0),
    ("J-CANCELLED", "I-CANCELLED", "S-CANCELLED", "work", "UNLOCKED", None, None, 2),
]
_USER_TASKS = [
    ("T-TASK", "I-TASK", "S-TASK-2", "check", "OPEN"),
    ("T-DUE", "I-DUE", "S-DUE", "check", "OPEN"),
    ("T-WAIT", "I-WAIT", "S-WAIT-1", "check", "COMPLETED"),
]
_TIMERS = [
    # id, instance, execution, target, seconds from now, fired
    ("B-TASK", "I-TASK", "S-TASK-2", "late", 3600, False),
    ("B-DUE", "I-DUE", "S-DUE", "late", -5, False),
    # The engine of May never cancels one: it fires without effect.
    ("B-WAIT", "I-WAIT", "S-WAIT-1", "late", 3600, False),
]


async def in_flight(owner_dsn: str) -> None:
    """A definition without source text and one instance at each kind of place."""
    text = json.dumps(DOCUMENT)
    async with await psycopg.AsyncConnection.connect(owner_dsn) as connection, connection.cursor() as cursor:
        await cursor.execute(
            "INSERT INTO workflow_definition (id, version, name, raw_json, parsed_steps)"
            " VALUES ('order', 1, 'Order', %s, %s)",
            [text, json.dumps(STEPS)],
        )
        await cursor.executemany(
            "INSERT INTO workflow_instance (id, definition_id, definition_version, status, current_step_ids, variables)"
            """ VALUES (%s, 'order', 1, %s, %s, '{"way": "work"}')""",
            [(id_, *rest) for id_, rest in _INSTANCES.items()],
        )
        await cursor.executemany(
            "INSERT INTO step_execution (id, instance_id, step_id, step_type, status, started_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s, clock_timestamp(), CASE WHEN %s = 'COMPLETED' THEN now() END)",
            [(*row, row[-1]) for row in _EXECUTIONS],
        )
        await cursor.executemany(
            "INSERT INTO job (id, instance_id, step_execution_id, job_type, status, worker_id, lock_expires_at,"
            " locked_at, retries_remaining)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() + %s * interval '1 second', now(), %s)",
            _JOBS,
        )
        await cursor.executemany(
            "INSERT INTO user_task (id, instance_id, step_execution_id, step_id, status) VALUES (%s, %s, %s, %s, %s)",
            _USER_TASKS,
        )
        await cursor.executemany(
            "INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, interrupting,"
            " fire_at, fired) VALUES (%s, %s, %s, %s, true, now() + %s * interval '1 second', %s)",
            _TIMERS,
        )

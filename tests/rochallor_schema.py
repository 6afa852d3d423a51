"""A database as Rochallor makes it: tables, columns and indexes by the contract, not by our own migrations.

Where the contract gives an index only its columns, the name is made of them in the way of the one that is known,
idx_job_status_lock_expires_at.
"""

from __future__ import annotations

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

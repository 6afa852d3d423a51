"""What the schema's numbers stand for in the catalog: tables with their columns, and indexes (contract 9.1, 9.3).

Kept apart from the migrations' text, because a database may have been made by another engine's, and compared with it by
a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Columns = Mapping[str, str]
"""Types by name, as format_type writes them."""

SHARED_MADE_HERE = 9
"""Of the shared numbers, those up to this one are ours to apply too."""
SHARED_KNOWN = 11
"""The other engine's newest number that this release knows; 10 and 11 are never applied by this one."""

BUSINESS_KEY_INDEX = "uniq_workflow_instance_bk_def_active"
"""Unique, and the other engine's: one instance in flight for a definition and a key."""


class Shape(NamedTuple):
    """What is there once a migration has been applied."""

    tables: Mapping[str, Columns] = {}
    """New tables, whole."""
    columns: Mapping[str, Columns] = {}
    """More columns, by table."""
    indexes: Mapping[str, str] = {}
    """The table of each."""


def _columns(text: str) -> Columns:
    words = (part.split(maxsplit=1) for part in text.split(","))
    return {name: "timestamp with time zone" if kind == "timestamptz" else kind for name, kind in words}


SCHEMA_MIGRATIONS = _columns("version bigint, dirty boolean")
LEDGER = _columns("version integer, name text, applied_at timestamptz")

SHARED: Mapping[int, Shape] = {
    1: Shape(
        {
            "workflow_definition": _columns(
                "pk bigint, id text, version integer, name text, description text, raw_json jsonb, parsed_steps jsonb, "
                "auto_start_next_workflow_id text, uploaded_at timestamptz, uploaded_by text"
            )
        },
    ),
    2: Shape(
        {
            "workflow_instance": _columns(
                "id text, definition_id text, definition_version integer, status text, current_step_ids text[], "
                "variables jsonb, started_at timestamptz, completed_at timestamptz, failure_reason text, "
                "business_key text"
            )
        }
    ),
    3: Shape(
        {
            "step_execution": _columns(
                "id text, instance_id text, step_id text, step_type text, attempt_number integer, status text, "
                "started_at timestamptz, ended_at timestamptz, input_snapshot jsonb, output_snapshot jsonb, "
                "failure_reason text"
            )
        }
    ),
    4: Shape(
        {
            "job": _columns(
                "id text, instance_id text, step_execution_id text, job_type text, status text, worker_id text, "
                "locked_at timestamptz, lock_expires_at timestamptz, retries_remaining integer, payload jsonb, "
                "created_at timestamptz"
            )
        }
    ),
    5: Shape(
        {
            "user_task": _columns(
                "id text, instance_id text, step_execution_id text, step_id text, status text, assignee text, "
                "assignee_group text, payload jsonb, result jsonb, created_at timestamptz, completed_at timestamptz"
            )
        }
    ),
    6: Shape(
        {
            "boundary_event_schedule": _columns(
                "id text, instance_id text, step_execution_id text, target_step_id text, fire_at timestamptz, "
                "interrupting boolean, fired boolean"
            )
        }
    ),
    7: Shape(
        {
            "audit_log": _columns(
                "id bigint, at timestamptz, actor text, kind text, instance_id text, detail jsonb"
            )
        }
    ),
    # Indexes only, and another engine's may have other names.
    8: Shape(),
    9: Shape(
        {
            "dispatch_outbox": _columns(
                "id text, job_id text, instance_id text, job_type text, payload bytea, created_at timestamptz"
            )
        }
    ),
    10: Shape(indexes={BUSINESS_KEY_INDEX: "workflow_instance"}),
    11: Shape(
        {
            "workflow_chain": _columns(
                "source_instance_id text, target_definition_id text, variables jsonb, business_key text, "
                "child_instance_id text, created_at timestamptz"
            )
        }
    ),
}

OWN: Mapping[int, Shape] = {
    1: Shape(
        {
            "windlass_node": _columns(
                "id text, role text, version text, dispatch_mode text, started_at timestamptz, last_seen_at timestamptz"
            )
        },
        {
            "workflow_definition": _columns("source text"),
            "workflow_instance": _columns("progress text"),
            "job": _columns(
                "step_id text, lease_token bigint, lease_expiries integer, requeued_at timestamptz"
            ),
        },
        {"idx_job_claimable": "job"},
    ),
    2: Shape(
        indexes={"idx_instance_definition_started": "workflow_instance", "idx_audit_log_at": "audit_log"}
    ),
    3: Shape(
        {
            "windlass_job_dispatch": _columns("job_id text, deliveries integer, deadline timestamptz"),
            "windlass_leader": _columns(
                "name text, holder text, epoch bigint, expires_at timestamptz, session_pid integer"
            ),
        },
        {"dispatch_outbox": _columns("position bigint")},
        {
            "idx_dispatch_outbox_topic": "dispatch_outbox",
            "idx_dispatch_outbox_job": "dispatch_outbox",
            "idx_windlass_job_dispatch_deadline": "windlass_job_dispatch",
        },
    ),
    4: Shape(
        indexes={
            "idx_windlass_job_step": "job",
            "idx_windlass_user_task_step": "user_task",
            "idx_windlass_boundary_event_instance": "boundary_event_schedule",
            "idx_windlass_boundary_event_step": "boundary_event_schedule",
        }
    ),
    5: Shape(),
    6: Shape(
        {
            "windlass_worker": _columns(
                "id text, job_types text[], version text, capacity integer, heartbeat_s double precision, "
                "registered_at timestamptz, last_seen_at timestamptz"
            )
        }
    ),
    7: Shape(columns={"job": _columns("answer_bytes bigint")}),
    8: Shape(
        indexes={
            "idx_windlass_instance_status": "workflow_instance",
            "idx_windlass_instance_key": "workflow_instance",
        }
    ),
    9: Shape(columns={"windlass_worker": _columns("principal text")}),
    10: Shape(columns={"job": _columns("trace_context text")}),
}

FORMER = {10: OWN[1], 11: OWN[2], 12: OWN[3]}
"""Before there was a ledger, our own steps stood in schema_migrations under these numbers."""

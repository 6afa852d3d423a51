-- name: instance_read_for_commands
-- Everything one batch decides on, in one statement: locks the instances (in id order, so that batches never wait for
-- each other in a circle), then the jobs named by commands, and looks up the newest version of definitions to start.
-- An instance is locked before any job of it; FOR UPDATE returns the newest row version, so nothing is stale.
WITH wanted AS MATERIALIZED (
    SELECT unnest($1::text::text[]) AS id
    UNION
    SELECT instance_id FROM job WHERE id = ANY ($2::text::text[])
), held AS MATERIALIZED (
    SELECT i.id, i.definition_id, i.definition_version, i.status, i.current_step_ids, i.variables::text AS variables,
           i.progress, i.business_key, i.failure_reason, i.started_at, i.completed_at
    FROM workflow_instance AS i
    WHERE i.id IN (SELECT id FROM wanted)
    ORDER BY i.id
    FOR UPDATE
), jobs AS MATERIALIZED (
    SELECT j.id, j.instance_id, j.step_execution_id, j.status, j.worker_id, j.lease_token, j.retries_remaining,
           j.lock_expires_at > clock_timestamp() AS lease_is_live
    FROM job AS j
    JOIN held ON held.id = j.instance_id
    WHERE j.id = ANY ($2::text::text[])
    ORDER BY j.id
    FOR UPDATE OF j
)
SELECT 'instance' AS kind, held.id, held.definition_id, held.definition_version AS version, held.status,
       held.current_step_ids, held.variables, held.progress, held.business_key, held.failure_reason,
       held.started_at, held.completed_at,
       NULL::text AS instance_id, NULL::text AS step_execution_id, NULL::text AS worker_id,
       NULL::bigint AS lease_token, NULL::integer AS retries_remaining, NULL::boolean AS lease_is_live,
       clock_timestamp() AS now
FROM held
UNION ALL
SELECT 'job', jobs.id, NULL, NULL, jobs.status, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       jobs.instance_id, jobs.step_execution_id, jobs.worker_id, jobs.lease_token, jobs.retries_remaining,
       jobs.lease_is_live, clock_timestamp()
FROM jobs
UNION ALL
SELECT 'definition', w.id, NULL, d.version, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, clock_timestamp()
FROM unnest($3::text::text[]) AS w (id)
LEFT JOIN LATERAL (
    SELECT version FROM workflow_definition WHERE id = w.id ORDER BY version DESC LIMIT 1
) AS d ON true;

-- name: instance_get
-- One instance as the wire shows it.
SELECT id, definition_id, definition_version, status, current_step_ids, variables::text AS variables,
       started_at, completed_at, failure_reason, business_key
FROM workflow_instance
WHERE id = $1;

-- name: instance_list
-- A page, newest first, ties by id (contract 1.5); null filters match all.
SELECT id, definition_id, definition_version, status, current_step_ids, variables::text AS variables,
       started_at, completed_at, failure_reason, business_key
FROM workflow_instance
WHERE ($1::text IS NULL OR definition_id = $1)
  AND ($2::text IS NULL OR status = $2)
  AND ($3::text IS NULL OR business_key = $3)
ORDER BY started_at DESC, id DESC
LIMIT $4 OFFSET $5;

-- name: instance_count
-- The total of instance_list.
SELECT count(*)
FROM workflow_instance
WHERE ($1::text IS NULL OR definition_id = $1)
  AND ($2::text IS NULL OR status = $2)
  AND ($3::text IS NULL OR business_key = $3);

-- name: instance_exists
-- Tells an instance without steps from one that is unknown.
SELECT 1 FROM workflow_instance WHERE id = $1;

-- name: step_history
-- All executions of an instance in the order they began (contract 5.10).
SELECT id, instance_id, step_id, step_type, attempt_number, status, started_at, ended_at, failure_reason,
       input_snapshot::text AS input_snapshot, output_snapshot::text AS output_snapshot
FROM step_execution
WHERE instance_id = $1
ORDER BY started_at, id;

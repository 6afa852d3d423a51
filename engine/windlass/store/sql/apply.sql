-- name: apply_rows
-- Writes one batch as sets and returns the database's time and how many rows each guarded update touched. Every update
-- of a status names the state it leaves; a lease holder's write carries its token (contract 1.6). Arrays arrive as text:
-- the driver encodes them element by element, which cost a quarter of the engine's time.
WITH t AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), new_instance AS (
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, current_step_ids, variables,
                                   started_at, completed_at, failure_reason, business_key, progress)
    SELECT u.id, u.definition_id, u.version, u.status, u.current::text[], u.variables::jsonb, t.now,
           CASE WHEN u.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN t.now END,
           u.failure_reason, u.business_key, u.progress
    FROM t, unnest($1::text::text[], $2::text::text[], $3::text::integer[], $4::text::text[], $5::text::text[], $6::text::text[], $7::text::text[], $8::text::text[],
                   $9::text::text[])
         AS u (id, definition_id, version, status, current, variables, failure_reason, business_key, progress)
), changed_instance AS (
    UPDATE workflow_instance AS i
    SET status = u.status, current_step_ids = u.current::text[],
        variables = coalesce(u.variables::jsonb, i.variables),
        completed_at = CASE WHEN u.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN t.now END,
        failure_reason = u.failure_reason, progress = u.progress
    FROM t, unnest($10::text::text[], $11::text::text[], $12::text::text[], $13::text::text[], $14::text::text[], $15::text::text[])
         AS u (id, status, current, variables, failure_reason, progress)
    -- IS TRUE keeps the planner from an index by status, which it may scan for all of them.
    WHERE i.id = u.id AND (i.status IN ('ACTIVE', 'WAITING')) IS TRUE
    RETURNING 1
), new_step AS (
    INSERT INTO step_execution (id, instance_id, step_id, step_type, attempt_number, status, started_at, ended_at,
                                input_snapshot, output_snapshot, failure_reason)
    SELECT u.id, u.instance_id, u.step_id, u.step_type, u.attempt, u.status, t.now,
           CASE WHEN u.status <> 'RUNNING' THEN t.now END, u.input::jsonb, u.output::jsonb, u.failure_reason
    FROM t, unnest($16::text::text[], $17::text::text[], $18::text::text[], $19::text::text[], $20::text::integer[], $21::text::text[], $22::text::text[],
                   $23::text::text[], $24::text::text[])
         AS u (id, instance_id, step_id, step_type, attempt, status, input, output, failure_reason)
), closed_step AS (
    UPDATE step_execution AS s
    SET status = u.status, ended_at = t.now, output_snapshot = u.output::jsonb, failure_reason = u.failure_reason
    FROM t, unnest($25::text::text[], $26::text::text[], $27::text::text[], $28::text::text[]) AS u (id, status, output, failure_reason)
    WHERE s.id = u.id AND s.status = 'RUNNING'
    RETURNING 1
), new_job AS (
    INSERT INTO job (id, instance_id, step_execution_id, step_id, job_type, status, retries_remaining, payload,
                     created_at, worker_id, locked_at, lock_expires_at, lease_token, answer_bytes, trace_context)
    SELECT u.id, u.instance_id, u.execution_id, u.step_id, u.job_type, u.status, u.retries, p.payload, t.now,
           u.worker_id, CASE WHEN u.status = 'LOCKED' THEN t.now END,
           t.now + u.lease_s * interval '1 second', CASE WHEN u.status = 'LOCKED' THEN 1 END,
           -- Its text, nine bytes for each value in it (a number of one digit takes three there and eleven over gRPC),
           -- and the fields around it.
           1000 + octet_length(u.step_id) + octet_length(u.job_type) + coalesce(octet_length(u.trace), 0)
           + octet_length(p.written)
           + 9::bigint * (octet_length(p.written)
                          - octet_length(replace(replace(replace(p.written, ',', ''), '[', ''), '{', ''))),
           u.trace
    FROM t, unnest($29::text::text[], $30::text::text[], $31::text::text[], $32::text::text[], $33::text::text[], $34::text::text[], $35::text::integer[],
                   $36::text::text[], $37::text::text[], $38::text::float8[], $47::text::text[])
         AS u (id, instance_id, execution_id, step_id, job_type, status, retries, payload_text, worker_id, lease_s, trace)
    -- Parsed and written once.
    CROSS JOIN LATERAL (
        SELECT j.payload, j.payload::text AS written FROM (SELECT u.payload_text::jsonb AS payload OFFSET 0) AS j OFFSET 0
    ) AS p
    RETURNING job.id, job.lock_expires_at
), closed_job AS (
    UPDATE job AS j
    SET status = u.status, worker_id = coalesce(u.worker_id, j.worker_id)
    FROM unnest($39::text::text[], $40::text::text[], $41::text::text[], $42::text::bigint[]) AS u (id, status, worker_id, lease_token)
    WHERE j.id = u.id AND j.status IN ('UNLOCKED', 'LOCKED')
      AND (u.lease_token IS NULL OR j.lease_token = u.lease_token)
    RETURNING 1
), written_audit AS (
    INSERT INTO audit_log (at, actor, kind, instance_id, detail)
    SELECT t.now, u.actor, u.kind, u.instance_id, u.detail::jsonb
    FROM t, unnest($43::text::text[], $44::text::text[], $45::text::text[], $46::text::text[]) AS u (actor, kind, instance_id, detail)
)
SELECT t.now, (SELECT count(*) FROM changed_instance) AS instances, (SELECT count(*) FROM closed_step) AS steps,
       (SELECT count(*) FROM closed_job) AS jobs
FROM t;

-- name: apply_tasks_and_timers
-- The rarer half of a batch, after apply_rows in the same transaction: user tasks, timers, re-queued jobs. Where the
-- from-state is the condition of a partial index it is not written as a constant, for the reason given at job_claim.
WITH guard AS MATERIALIZED (
    SELECT 'OPEN' AS open
), new_task AS (
    INSERT INTO user_task (id, instance_id, step_execution_id, step_id, status, payload, created_at, completed_at)
    SELECT u.id, u.instance_id, u.execution_id, u.step_id, u.status, u.payload::jsonb, $1::timestamptz,
           CASE WHEN u.status <> 'OPEN' THEN $1::timestamptz END
    FROM unnest($2::text::text[], $3::text::text[], $4::text::text[], $5::text::text[], $6::text::text[], $7::text::text[])
         AS u (id, instance_id, execution_id, step_id, status, payload)
), closed_task AS (
    UPDATE user_task AS k
    SET status = u.status, result = u.result::jsonb, completed_at = $1
    FROM guard, unnest($8::text::text[], $9::text::text[], $10::text::text[]) AS u (id, status, result)
    WHERE k.id = u.id AND k.status = guard.open
    RETURNING 1
), new_timer AS (
    INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, fire_at, interrupting, fired)
    SELECT u.id, u.instance_id, u.execution_id, u.target, $1::timestamptz + u.delay_s * interval '1 second',
           u.interrupting, u.fired
    FROM unnest($11::text::text[], $12::text::text[], $13::text::text[], $14::text::text[], $15::text::float8[], $16::text::boolean[], $17::text::boolean[])
         AS u (id, instance_id, execution_id, target, delay_s, interrupting, fired)
), closed_timer AS (
    UPDATE boundary_event_schedule SET fired = true WHERE id = ANY ($18::text::text[]) AND fired IS NOT TRUE
), requeued_job AS (
    UPDATE job AS j
    SET status = 'UNLOCKED', worker_id = NULL, locked_at = NULL, lock_expires_at = NULL,
        retries_remaining = u.retries, requeued_at = $1
    FROM unnest($19::text::text[], $20::text::integer[], $21::text::bigint[]) AS u (id, retries, lease_token)
    WHERE j.id = u.id AND j.status IN ('UNLOCKED', 'LOCKED')
      AND (u.lease_token IS NULL OR j.lease_token = u.lease_token)
    RETURNING 1
)
SELECT (SELECT count(*) FROM closed_task) AS tasks, (SELECT count(*) FROM requeued_job) AS requeued;

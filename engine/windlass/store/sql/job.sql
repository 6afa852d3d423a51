-- name: job_claim
-- Leases the oldest claimable jobs of some types to waiting polls; no other claim gets the same ones. The inner query is
-- a materialised list, so the planner cannot run it twice and overshoot; idx_job_claimable keeps it flat. $2 is the
-- slots in the order they are to be filled (indexes into $3, $4 from 1); its length is the most that may be claimed.
-- Together the jobs stay below $5 bytes, but one is leased whatever its size; one above $6 is passed over. Each row
-- tells how many jobs were found, so that the caller knows whether some were left. Without answer_bytes a payload is
-- unpacked and counted at the most that it can take.
-- The update compares the state with what was picked, not with a constant: with a constant the planner may scan the
-- whole partial index instead of looking up ids.
WITH picked AS MATERIALIZED (
    SELECT c.id, c.status, c.queued_at, c.bytes
    FROM unnest($1::text[]) AS w (job_type)
    CROSS JOIN LATERAL (
        SELECT j.id, j.status, coalesce(j.requeued_at, j.created_at) AS queued_at,
               coalesce(j.answer_bytes, 1000 + 4::bigint * octet_length(j.payload::text)) AS bytes
        FROM job AS j
        WHERE j.status = 'UNLOCKED' AND j.job_type = w.job_type
          AND ($6::bigint IS NULL OR coalesce(j.answer_bytes, 1000 + 4::bigint * octet_length(j.payload::text)) <= $6)
        ORDER BY coalesce(j.requeued_at, j.created_at), j.id
        LIMIT cardinality($2::text::integer[])
        FOR UPDATE SKIP LOCKED
    ) AS c
), found AS MATERIALIZED (
    SELECT id, status, slot, place, count(*) OVER () AS jobs,
           sum(bytes + octet_length(($3::text[])[slot])) OVER (ORDER BY place) AS upto
    FROM (SELECT *, ($2::text::integer[])[place] AS slot
          FROM (SELECT *, row_number() OVER (ORDER BY queued_at, id) AS place FROM picked) AS ordered
          ORDER BY place
          LIMIT cardinality($2::text::integer[])) AS dealt
), t AS MATERIALIZED (
    SELECT clock_timestamp() AS now
)
UPDATE job AS j
SET status = 'LOCKED', worker_id = ($3::text[])[c.slot], locked_at = t.now,
    lock_expires_at = t.now + ($4::float8[])[c.slot] * interval '1 second',
    lease_token = coalesce(j.lease_token, 0) + 1
FROM found AS c, t
WHERE j.id = c.id AND j.status = c.status AND (c.place = 1 OR c.upto <= $5::bigint)
RETURNING c.slot, c.jobs AS found, j.id, j.instance_id, j.step_id, j.step_execution_id, j.job_type,
          j.worker_id, j.locked_at, j.lock_expires_at, j.retries_remaining, j.payload::text AS payload,
          j.created_at, j.lease_token, j.trace_context;

-- name: job_passed_over
-- One of the waiting jobs that are too large for some polls ($2), asked for when those polls have found no other.
SELECT j.id, j.instance_id, j.job_type, coalesce(j.answer_bytes, 1000 + 4::bigint * octet_length(j.payload::text)) AS bytes
FROM unnest($1::text[]) AS w (job_type)
CROSS JOIN LATERAL (
    SELECT * FROM job
    WHERE status = 'UNLOCKED' AND job_type = w.job_type
      AND coalesce(answer_bytes, 1000 + 4::bigint * octet_length(payload::text)) > $2::bigint
    ORDER BY coalesce(requeued_at, created_at), id
    LIMIT 1
) AS j
LIMIT 1;

-- name: job_release
-- Gives leases back unharmed: their poll went away before it was answered. Guarded by the token; the state is no
-- constant for the same reason as in job_claim.
WITH guard AS MATERIALIZED (
    SELECT 'LOCKED' AS held
)
UPDATE job AS j
SET status = 'UNLOCKED', worker_id = NULL, locked_at = NULL, lock_expires_at = NULL
FROM guard, unnest($1::text[], $2::bigint[]) AS u (id, lease_token)
WHERE j.id = u.id AND j.status = guard.held AND j.lease_token = u.lease_token
RETURNING j.job_type;

-- name: job_expire_leases
-- Frees jobs whose lease lapsed on the database's clock, at most $1, skipping rows in use; retries are untouched
-- (contract 5.5). The instance is locked too, so that an event of the job takes its place in the instance's order.
-- A job whose lease expired $2 times (0 = no cap) is only reported, for `fail_job`.
WITH due AS MATERIALIZED (
    SELECT j.id, coalesce(j.lease_expiries, 0) + 1 AS expiries
    FROM job AS j
    JOIN workflow_instance AS i ON i.id = j.instance_id
    WHERE j.status = 'LOCKED' AND j.lock_expires_at < clock_timestamp()
    ORDER BY j.lock_expires_at
    LIMIT $1
    FOR UPDATE OF i, j SKIP LOCKED
), freed AS (
    UPDATE job AS j
    SET status = 'UNLOCKED', worker_id = NULL, locked_at = NULL, lock_expires_at = NULL, lease_expiries = due.expiries
    FROM due
    WHERE j.id = due.id AND ($2::integer = 0 OR due.expiries < $2::integer)
    RETURNING j.id, j.instance_id, j.job_type
), written_audit AS (
    INSERT INTO audit_log (actor, kind, instance_id, detail)
    SELECT 'engine', 'job-lease-expired', f.instance_id, jsonb_build_object('job_id', f.id)
    FROM freed AS f
    WHERE $3::boolean
)
SELECT f.id, f.job_type, false AS exhausted FROM freed AS f
UNION ALL
SELECT due.id, NULL, true FROM due WHERE $2::integer <> 0 AND due.expiries >= $2::integer;

-- name: job_queue_length
-- How many jobs of type $1 wait, counted up to $2 and no further: an autoscaler needs no more, and counting a long
-- queue must stay cheap.
SELECT count(*)::integer AS waiting
FROM (SELECT FROM job WHERE status = 'UNLOCKED' AND job_type = $1 LIMIT $2) AS counted;

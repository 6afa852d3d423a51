-- name: retention_cutoff
-- The instant $1 seconds ago, asked once for a pass, so that all its statements agree; and whether another engine's table
-- of chained instances is in this schema. Windlass itself stores no such link.
SELECT clock_timestamp() - $1::float8 * interval '1 second' AS cutoff,
       to_regclass(format('%I.workflow_chain', current_schema())) IS NOT NULL AS has_chains;

-- name: retention_page
-- The next $4 instances that began before $1, in the order of idx_instance_started_at after ($2, $3), and of these the
-- first $5 that also finished before it: ids, where to continue (null at the end), and the longest time since one
-- finished. Nothing is indexed by the time of completion, since every completion would pay for it; those that still run
-- are passed over.
WITH page AS MATERIALIZED (
    SELECT i.id, i.started_at, i.completed_at,
           i.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND i.completed_at < $1 AS is_due
    FROM workflow_instance AS i
    WHERE i.started_at <= $1 AND i.started_at >= $2 AND (i.started_at, i.id) > ($2, $3::text)
    ORDER BY i.started_at, i.id
    LIMIT $4
), due AS MATERIALIZED (
    SELECT p.id, p.started_at, p.completed_at
    FROM page AS p
    WHERE p.is_due
    ORDER BY p.started_at, p.id
    LIMIT $5
), counted AS (
    SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT count(*) FROM due) AS due
), last AS (
    (SELECT d.started_at, d.id FROM due AS d, counted WHERE counted.due = $5 ORDER BY d.started_at DESC, d.id DESC LIMIT 1)
    UNION ALL
    (SELECT p.started_at, p.id FROM page AS p, counted
     WHERE counted.due < $5 AND counted.looked_at = $4 ORDER BY p.started_at DESC, p.id DESC LIMIT 1)
)
SELECT ARRAY(SELECT d.id FROM due AS d ORDER BY d.started_at, d.id) AS ids,
       (SELECT l.started_at FROM last AS l) AS last_started_at, (SELECT l.id FROM last AS l) AS last_id,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(d.completed_at)) FROM due AS d), 0)::float8 AS oldest_s;

-- name: retention_lock
-- Those of the instances $1 that are still finished and old enough, locked: another engine may have retried one. Rows in
-- use, by another node's batch for example, are skipped.
SELECT i.id
FROM workflow_instance AS i
WHERE i.id = ANY ($1::text::text[]) AND i.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND i.completed_at < $2
ORDER BY i.id
FOR UPDATE SKIP LOCKED;

-- name: retention_chain_held
-- Those of the instances $1 whose chained child is still to be started or still runs.
SELECT c.source_instance_id AS id
FROM workflow_chain AS c
LEFT JOIN workflow_instance AS child ON child.id = c.child_instance_id
WHERE c.source_instance_id = ANY ($1::text::text[])
  AND (child.id IS NULL OR child.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED'));

-- name: retention_chain_remove
-- The links from and to the instances $1.
WITH gone AS (
    DELETE FROM workflow_chain AS c
    WHERE c.source_instance_id = ANY ($1::text::text[]) OR c.child_instance_id = ANY ($1::text::text[])
    RETURNING 1
)
SELECT count(*) FROM gone;

-- name: retention_chain_count
-- How many retention_chain_remove would remove, each counted with its source if that goes too.
SELECT count(*)
FROM workflow_chain AS c
WHERE c.source_instance_id = ANY ($1::text::text[])
   OR (c.child_instance_id = ANY ($1::text::text[])
       AND NOT EXISTS (SELECT FROM workflow_instance AS source
                       WHERE source.id = c.source_instance_id
                         AND source.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND source.completed_at < $2));

-- name: retention_remove
-- The instances $1, which the caller has locked, and all rows that belong to them; how many of each. One statement:
-- foreign keys are checked at its end, when nothing refers to what is gone. The marker of a dispatched job comes after its
-- event, as the relay takes them.
WITH steps AS MATERIALIZED (
    SELECT s.id FROM step_execution AS s WHERE s.instance_id = ANY ($1::text::text[])
), jobs AS MATERIALIZED (
    SELECT j.id FROM steps JOIN job AS j ON j.step_execution_id = steps.id
), gone_outbox AS (
    DELETE FROM dispatch_outbox AS o USING jobs WHERE o.job_id = jobs.id RETURNING 1
), gone_dispatch AS (
    DELETE FROM windlass_job_dispatch AS d
    USING jobs, (SELECT count(*) FROM gone_outbox) AS first
    WHERE d.job_id = jobs.id
    RETURNING 1
), gone_job AS (
    DELETE FROM job AS j USING jobs WHERE j.id = jobs.id RETURNING 1
), gone_task AS (
    DELETE FROM user_task AS k WHERE k.instance_id = ANY ($1::text::text[]) RETURNING 1
), gone_timer AS (
    DELETE FROM boundary_event_schedule AS b WHERE b.instance_id = ANY ($1::text::text[]) RETURNING 1
), gone_step AS (
    DELETE FROM step_execution AS s USING steps WHERE s.id = steps.id RETURNING 1
), gone_audit AS (
    DELETE FROM audit_log AS a WHERE a.instance_id = ANY ($1::text::text[]) RETURNING 1
), gone_instance AS (
    DELETE FROM workflow_instance AS i WHERE i.id = ANY ($1::text::text[]) RETURNING 1
)
SELECT (SELECT count(*) FROM gone_instance) AS workflow_instance, (SELECT count(*) FROM gone_step) AS step_execution,
       (SELECT count(*) FROM gone_job) AS job, (SELECT count(*) FROM gone_task) AS user_task,
       (SELECT count(*) FROM gone_timer) AS boundary_event_schedule, (SELECT count(*) FROM gone_outbox) AS dispatch_outbox,
       (SELECT count(*) FROM gone_dispatch) AS windlass_job_dispatch, (SELECT count(*) FROM gone_audit) AS audit_log;

-- name: retention_count
-- How many rows retention_remove would remove.
WITH steps AS MATERIALIZED (
    SELECT s.id FROM step_execution AS s WHERE s.instance_id = ANY ($1::text::text[])
), jobs AS MATERIALIZED (
    SELECT j.id FROM steps JOIN job AS j ON j.step_execution_id = steps.id
)
SELECT (SELECT count(*) FROM workflow_instance AS i WHERE i.id = ANY ($1::text::text[])) AS workflow_instance,
       (SELECT count(*) FROM steps) AS step_execution, (SELECT count(*) FROM jobs) AS job,
       (SELECT count(*) FROM user_task AS k WHERE k.instance_id = ANY ($1::text::text[])) AS user_task,
       (SELECT count(*) FROM boundary_event_schedule AS b
        WHERE b.instance_id = ANY ($1::text::text[])) AS boundary_event_schedule,
       (SELECT count(*) FROM jobs JOIN dispatch_outbox AS o ON o.job_id = jobs.id) AS dispatch_outbox,
       (SELECT count(*) FROM jobs JOIN windlass_job_dispatch AS d ON d.job_id = jobs.id) AS windlass_job_dispatch,
       (SELECT count(*) FROM audit_log AS a WHERE a.instance_id = ANY ($1::text::text[])) AS audit_log;

-- name: retention_audit_remove
-- Looks at the next $3 audit rows after id $1, removes those written before $2 whose instance is not there (any more), or
-- that never belonged to one, and tells where to continue: null when all that it saw are younger, or none is left. Rows
-- that another node has locked are skipped.
WITH page AS MATERIALIZED (
    SELECT a.id, a.at, a.instance_id FROM audit_log AS a WHERE a.id > $1 ORDER BY a.id LIMIT $3
), stray AS MATERIALIZED (
    SELECT a.id
    FROM page AS p
    JOIN audit_log AS a ON a.id = p.id
    WHERE p.at < $2 AND NOT EXISTS (SELECT FROM workflow_instance AS i WHERE i.id = p.instance_id)
    FOR UPDATE OF a SKIP LOCKED
), gone AS (
    DELETE FROM audit_log AS a USING stray WHERE a.id = stray.id RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS audit_log,
       (SELECT max(p.id) FROM page AS p HAVING count(*) = $3 AND min(p.at) < $2) AS last_id;

-- name: retention_audit_count
-- How many rows retention_audit_remove would remove, and where to continue.
WITH page AS MATERIALIZED (
    SELECT a.id, a.at, a.instance_id FROM audit_log AS a WHERE a.id > $1 ORDER BY a.id LIMIT $3
)
SELECT (SELECT count(*) FROM page AS p
        WHERE p.at < $2 AND NOT EXISTS (SELECT FROM workflow_instance AS i WHERE i.id = p.instance_id)) AS audit_log,
       (SELECT max(p.id) FROM page AS p HAVING count(*) = $3 AND min(p.at) < $2) AS last_id;

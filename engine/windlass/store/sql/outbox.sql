-- name: outbox_append
-- Events of jobs just made or put back, in the order in which the broker is to see them: `position` is taken here, while
-- the transaction holds the instances' locks (contract 11 row 17).
INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload, created_at)
SELECT u.id, u.job_id, u.instance_id, u.job_type, u.payload, clock_timestamp()
FROM unnest($1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::bytea[])
     WITH ORDINALITY AS u (id, job_id, instance_id, job_type, payload, place)
ORDER BY u.place;

-- name: outbox_take_back
-- What the next events of these jobs carry, after a worker gave them back or its lease lapsed; their count of deliveries
-- begins anew. The caller holds their locks.
WITH forgotten AS (
    DELETE FROM windlass_job_dispatch WHERE job_id = ANY ($1::text::text[])
)
SELECT id, instance_id, step_execution_id, job_type, retries_remaining, payload::text AS payload, created_at
FROM job
WHERE id = ANY ($1::text::text[])
ORDER BY id;

-- name: outbox_head
-- The oldest rows, at most $1, without the topics $2 and the rows $3 that are backing off. Each topic is entered by
-- index, so that a backlog that cannot move costs the others nothing. `is_due` tells whether a worker may have the job.
WITH RECURSIVE topic (job_type) AS (
    (SELECT o.job_type FROM dispatch_outbox AS o ORDER BY o.job_type LIMIT 1)
    UNION ALL
    SELECT (SELECT o.job_type FROM dispatch_outbox AS o WHERE o.job_type > topic.job_type ORDER BY o.job_type LIMIT 1)
    FROM topic
    WHERE topic.job_type IS NOT NULL
), head AS MATERIALIZED (
    SELECT h.id, h.position
    FROM topic
    CROSS JOIN LATERAL (
        SELECT o.id, o.position
        FROM dispatch_outbox AS o
        WHERE o.job_type = topic.job_type AND o.id <> ALL ($3::text::text[])
        ORDER BY o.position
        LIMIT $1
    ) AS h
    WHERE topic.job_type <> ALL ($2::text::text[])
    ORDER BY h.position
    LIMIT $1
)
SELECT o.id, o.job_id, o.instance_id, o.job_type, o.payload, j.status = 'UNLOCKED' AS is_due, j.trace_context,
       CASE WHEN j.trace_context IS NOT NULL THEN
           j.requeued_at IS NULL AND j.lease_token IS NULL
           AND NOT EXISTS (SELECT FROM windlass_job_dispatch AS d WHERE d.job_id = j.id)
       END AS is_first
FROM head
JOIN dispatch_outbox AS o ON o.id = head.id
JOIN job AS j ON j.id = o.job_id
ORDER BY head.position;

-- name: outbox_settle
-- Removes the rows $2, which the broker acknowledged, and $3, whose jobs nobody waits for any more; marks and audits the
-- first. Only for the leader of epoch $1: one statement and no transaction around it, so that nothing can hang in it.
WITH led AS MATERIALIZED (
    SELECT clock_timestamp() AS now FROM windlass_leader WHERE name = 'relay' AND epoch = $1 FOR SHARE
), published AS (
    DELETE FROM dispatch_outbox AS o USING led WHERE o.id = ANY ($2::text::text[])
    RETURNING o.job_id, o.instance_id
), dropped AS (
    DELETE FROM dispatch_outbox AS o USING led
    WHERE o.id = ANY ($3::text::text[])
      AND NOT EXISTS (SELECT 1 FROM job AS j WHERE j.id = o.job_id AND j.status = 'UNLOCKED')
    RETURNING o.job_id
), forgotten AS (
    DELETE FROM windlass_job_dispatch AS d USING dropped WHERE d.job_id = dropped.job_id AND d.deadline IS NULL
), marked AS (
    INSERT INTO windlass_job_dispatch AS d (job_id, deliveries, deadline)
    SELECT DISTINCT p.job_id, 1, led.now + $4::float8 * interval '1 second' FROM published AS p, led
    ON CONFLICT (job_id) DO UPDATE
    -- Each further wait is twice as long, up to 64 times: a topic that is only slow is not flooded with copies.
    SET deliveries = d.deliveries + 1,
        deadline = clock_timestamp() + $4::float8 * 2 ^ least(d.deliveries, 6) * interval '1 second'
), audited AS (
    INSERT INTO audit_log (at, actor, kind, instance_id, detail)
    SELECT led.now, 'dispatch-relay', 'DISPATCHED_VIA_BROKER', p.instance_id, jsonb_build_object('job_id', p.job_id)
    FROM published AS p, led
    WHERE $5::boolean
)
SELECT EXISTS (SELECT 1 FROM led) AS leads, (SELECT count(*) FROM published) AS published,
       (SELECT count(*) FROM dropped) AS dropped;

-- name: outbox_overdue
-- At most $1 dispatched jobs whose deadline has passed, locked with their instances; rows in use are left to the next
-- look. A job that is done or gone loses its marker, one that a poller holds or whose event still waits gets $2 seconds
-- more, and the others are returned, to be dispatched again. The first column counts the rows looked at; a row without
-- an id only carries that count.
WITH due AS MATERIALIZED (
    SELECT d.job_id
    FROM windlass_job_dispatch AS d
    WHERE d.deadline < clock_timestamp()
    ORDER BY d.deadline
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT j.id, j.instance_id, j.step_execution_id, j.job_type, j.retries_remaining, j.payload::text AS payload,
           j.created_at,
           CASE WHEN j.status NOT IN ('UNLOCKED', 'LOCKED') OR i.status NOT IN ('ACTIVE', 'WAITING') THEN 'done'
                WHEN j.status = 'LOCKED' OR EXISTS (SELECT 1 FROM dispatch_outbox AS o WHERE o.job_id = j.id) THEN 'busy'
                ELSE 'lost' END AS finding
    FROM due
    JOIN job AS j ON j.id = due.job_id
    JOIN workflow_instance AS i ON i.id = j.instance_id
    FOR UPDATE OF i, j SKIP LOCKED
), forgotten AS (
    DELETE FROM windlass_job_dispatch AS d USING held WHERE d.job_id = held.id AND held.finding = 'done'
), orphaned AS (
    DELETE FROM windlass_job_dispatch AS d USING due
    WHERE d.job_id = due.job_id AND NOT EXISTS (SELECT 1 FROM job AS j WHERE j.id = d.job_id)
), postponed AS (
    UPDATE windlass_job_dispatch AS d
    SET deadline = CASE WHEN held.finding = 'busy' THEN clock_timestamp() + $2::float8 * interval '1 second' END
    FROM held
    WHERE d.job_id = held.id AND held.finding <> 'done'
)
SELECT (SELECT count(*) FROM due) AS looked_at, lost.id, lost.instance_id, lost.step_execution_id, lost.job_type,
       lost.retries_remaining, lost.payload, lost.created_at
FROM (SELECT 1) AS always
LEFT JOIN (SELECT * FROM held WHERE finding = 'lost') AS lost ON true
ORDER BY lost.id;

-- name: outbox_strays
-- One page of waiting jobs in the order of idx_job_claimable, after ($1, $2, $3), of $4 rows: the last of them, and those
-- that wait for $5 seconds and longer, were never dispatched and have no event waiting; these are locked with their
-- instances, as they are when the modes change (contract 6.7).
WITH page AS MATERIALIZED (
    SELECT j.id, j.job_type, coalesce(j.requeued_at, j.created_at) AS queued_at
    FROM job AS j
    WHERE j.status = 'UNLOCKED' AND (j.job_type, coalesce(j.requeued_at, j.created_at), j.id) > ($1, $2, $3)
    ORDER BY j.job_type, coalesce(j.requeued_at, j.created_at), j.id
    LIMIT $4
), stray AS MATERIALIZED (
    SELECT p.id
    FROM page AS p
    WHERE p.queued_at <= clock_timestamp() - $5::float8 * interval '1 second'
      AND NOT EXISTS (SELECT 1 FROM dispatch_outbox AS o WHERE o.job_id = p.id)
      AND NOT EXISTS (SELECT 1 FROM windlass_job_dispatch AS d WHERE d.job_id = p.id AND d.deadline IS NOT NULL)
), held AS MATERIALIZED (
    SELECT j.id
    FROM stray
    JOIN job AS j ON j.id = stray.id
    JOIN workflow_instance AS i ON i.id = j.instance_id
    WHERE j.status = 'UNLOCKED' AND i.status IN ('ACTIVE', 'WAITING')
    FOR UPDATE OF i, j SKIP LOCKED
), last AS (
    SELECT p.job_type, p.queued_at, p.id FROM page AS p ORDER BY p.job_type DESC, p.queued_at DESC, p.id DESC LIMIT 1
)
SELECT last.job_type, last.queued_at, last.id, array(SELECT held.id FROM held ORDER BY held.id) AS strays
FROM last;

-- name: outbox_adopt
-- The same jobs, asked once more now that they are locked: another node may have written their events meanwhile.
SELECT j.id, j.instance_id, j.step_execution_id, j.job_type, j.retries_remaining, j.payload::text AS payload, j.created_at
FROM job AS j
WHERE j.id = ANY ($1::text::text[])
  AND NOT EXISTS (SELECT 1 FROM dispatch_outbox AS o WHERE o.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM windlass_job_dispatch AS d WHERE d.job_id = j.id AND d.deadline IS NOT NULL)
ORDER BY j.id;

-- name: outbox_backlog
-- How many events wait.
SELECT count(*) FROM dispatch_outbox;

-- name: outbox_has_table
-- Is the schema there that the relay needs, and the table of the contract? Asked at boot.
SELECT to_regclass('dispatch_outbox') IS NOT NULL AS outbox, to_regclass('windlass_leader') IS NOT NULL AS leader;

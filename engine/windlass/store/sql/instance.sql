-- name: instance_read_for_commands
-- Everything one batch decides on, in one statement: locks the instances (in id order, so that batches never wait for
-- each other in a circle), then the jobs named by commands, and looks up the newest version of definitions to start.
-- An instance is locked before any job of it; FOR UPDATE returns the newest row version, so nothing is stale. Jobs with
-- a payload above $4 bytes are only named, so that nobody waits for what a large instance takes, or for its lock.
WITH named AS MATERIALIZED (
    SELECT id, instance_id, answer_bytes, coalesce(answer_bytes > $4::bigint, false) AS is_large
    FROM job WHERE id = ANY ($2::text::text[])
), wanted AS MATERIALIZED (
    SELECT unnest($1::text::text[]) AS id
    UNION
    SELECT instance_id FROM named WHERE NOT is_large
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
SELECT 'large job', named.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, named.answer_bytes, NULL, NULL, clock_timestamp()
FROM named WHERE is_large
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

-- name: instance_page
-- The ids of a page, newest first, ties by id (contract 1.5): $3 after $4 of those that come after ($1, $2); and how many
-- match in all, counted up to $5 and no further. All instances: by idx_instance_started_at. There is one statement for
-- each way to find them, since the plan of one for all would suit only some.
SELECT ARRAY(
           SELECT id FROM workflow_instance
           WHERE (started_at, id) < ($1, $2::text)
           ORDER BY started_at DESC, id DESC LIMIT $3 OFFSET $4
       ) AS ids,
       (SELECT count(*) FROM (SELECT FROM workflow_instance LIMIT $5) AS counted) AS total;

-- name: instance_page_of_definition
-- As instance_page, of one definition: by idx_instance_definition_started.
SELECT ARRAY(
           SELECT id FROM workflow_instance
           WHERE (started_at, id) < ($1, $2::text) AND definition_id = $6
           ORDER BY started_at DESC, id DESC LIMIT $3 OFFSET $4
       ) AS ids,
       (SELECT count(*) FROM (SELECT FROM workflow_instance WHERE definition_id = $6 LIMIT $5) AS counted) AS total;

-- name: instance_page_of_definition_in_status
-- As instance_page, of one definition in one status: by idx_windlass_instance_status.
SELECT ARRAY(
           SELECT id FROM workflow_instance
           WHERE (started_at, id) < ($1, $2::text) AND definition_id = $6 AND status = $7
           ORDER BY started_at DESC, id DESC LIMIT $3 OFFSET $4
       ) AS ids,
       (SELECT count(*) FROM (SELECT FROM workflow_instance WHERE definition_id = $6 AND status = $7 LIMIT $5) AS counted) AS total;

-- name: instance_page_of_key
-- As instance_page, with one business key and perhaps of one definition or in one status: by idx_windlass_instance_key, the
-- newest of each definition and status that the key has.
WITH RECURSIVE kind (definition_id, status) AS (
    (SELECT definition_id, status FROM workflow_instance WHERE business_key = $6
     ORDER BY definition_id, status LIMIT 1)
    UNION ALL
    SELECT next.definition_id, next.status
    FROM kind
    CROSS JOIN LATERAL (
        SELECT definition_id, status FROM workflow_instance
        WHERE business_key = $6 AND (definition_id, status) > (kind.definition_id, kind.status)
        ORDER BY definition_id, status LIMIT 1
    ) AS next
)
SELECT ARRAY(
           SELECT i.id
           FROM kind AS k
           CROSS JOIN LATERAL (
               SELECT id, started_at FROM workflow_instance
               WHERE (started_at, id) < ($1, $2::text) AND business_key = $6 AND definition_id = k.definition_id
                 AND status = k.status
               ORDER BY started_at DESC, id DESC LIMIT $3::bigint + $4::bigint
           ) AS i
           WHERE ($7::text IS NULL OR k.definition_id = $7) AND ($8::text IS NULL OR k.status = $8)
           ORDER BY i.started_at DESC, i.id DESC LIMIT $3 OFFSET $4
       ) AS ids,
       (SELECT count(*)
        FROM (SELECT
              FROM kind AS k
              CROSS JOIN LATERAL (
                  SELECT FROM workflow_instance
                  WHERE business_key = $6 AND definition_id = k.definition_id AND status = k.status
                  LIMIT $5::bigint
              ) AS i
              WHERE ($7::text IS NULL OR k.definition_id = $7) AND ($8::text IS NULL OR k.status = $8)
              LIMIT $5::bigint) AS counted) AS total;

-- name: instance_page_in_status
-- As instance_page, in one status: by idx_windlass_instance_status, the newest of each definition. An index by status alone
-- would cost every instance one more entry when it ends.
WITH RECURSIVE definition (id) AS (
    (SELECT id FROM workflow_definition ORDER BY id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.id FROM workflow_definition AS d WHERE d.id > definition.id ORDER BY d.id LIMIT 1)
    FROM definition WHERE definition.id IS NOT NULL
)
SELECT ARRAY(
           SELECT i.id
           FROM definition AS d
           CROSS JOIN LATERAL (
               SELECT id, started_at FROM workflow_instance
               WHERE (started_at, id) < ($1, $2::text) AND definition_id = d.id AND status = $6
               ORDER BY started_at DESC, id DESC LIMIT $3::bigint + $4::bigint
           ) AS i
           ORDER BY i.started_at DESC, i.id DESC LIMIT $3 OFFSET $4
       ) AS ids,
       (SELECT count(*)
        FROM (SELECT
              FROM definition AS d
              CROSS JOIN LATERAL (
                  SELECT FROM workflow_instance WHERE definition_id = d.id AND status = $6 LIMIT $5::bigint
              ) AS i
              LIMIT $5::bigint) AS counted) AS total;

-- name: instance_rows
-- The instances of a page ($1, in its order) as the wire shows them, as many as have $2 bytes, but one at least. They are
-- read one by one, so that no more is unpacked than is answered, and one.
WITH RECURSIVE taken (place, upto, id, variables) AS (
    SELECT 0, 0::bigint, NULL::text, NULL::text
    UNION ALL
    SELECT t.place + 1,
           t.upto + coalesce(500 + i.around + octet_length(i.variables), 0), i.id, i.variables
    FROM taken AS t
    LEFT JOIN LATERAL (
        SELECT id, variables::text AS variables,
               octet_length(concat(definition_id, failure_reason, business_key)) + octet_length(current_step_ids::text) AS around
        FROM workflow_instance WHERE id = ($1::text[])[t.place + 1] OFFSET 0
    ) AS i ON true
    WHERE t.place < cardinality($1::text[]) AND t.upto <= $2::bigint
)
SELECT i.id, i.definition_id, i.definition_version, i.status, i.current_step_ids, t.variables,
       i.started_at, i.completed_at, i.failure_reason, i.business_key
FROM taken AS t
CROSS JOIN LATERAL (SELECT * FROM workflow_instance WHERE id = t.id OFFSET 0) AS i
WHERE t.upto <= $2::bigint OR t.place = (SELECT min(place) FROM taken WHERE id IS NOT NULL)
ORDER BY t.place;

-- name: instance_exists
-- Tells an instance without steps from one that is unknown.
SELECT 1 FROM workflow_instance WHERE id = $1;

-- name: step_page
-- The ids of executions of an instance in the order they began (contract 5.10): the next $4 after ($2, $3).
SELECT id
FROM step_execution
WHERE instance_id = $1 AND (started_at, id) > ($2, $3::text)
ORDER BY started_at, id
LIMIT $4;

-- name: step_rows
-- Executions as the wire shows them ($1, in its order), read as in instance_rows; REST writes everything twice. Without
-- snapshots ($3) these are not even unpacked.
WITH RECURSIVE taken (place, upto, id, input, output) AS (
    SELECT 0, 0::bigint, NULL::text, NULL::text, NULL::text
    UNION ALL
    SELECT t.place + 1,
           t.upto + coalesce(900 + 2::bigint * (s.around + coalesce(octet_length(s.input), 0)
                                                + coalesce(octet_length(s.output), 0)), 0),
           s.id, s.input, s.output
    FROM taken AS t
    LEFT JOIN LATERAL (
        SELECT id, octet_length(concat(step_id, failure_reason)) AS around,
               CASE WHEN $3::boolean THEN input_snapshot::text END AS input,
               CASE WHEN $3::boolean THEN output_snapshot::text END AS output
        FROM step_execution WHERE id = ($1::text[])[t.place + 1] OFFSET 0
    ) AS s ON true
    WHERE t.place < cardinality($1::text[]) AND t.upto <= $2::bigint
)
SELECT s.id, s.instance_id, s.step_id, s.step_type, s.attempt_number, s.status, s.started_at, s.ended_at,
       s.failure_reason, t.input AS input_snapshot, t.output AS output_snapshot
FROM taken AS t
CROSS JOIN LATERAL (SELECT * FROM step_execution WHERE id = t.id OFFSET 0) AS s
WHERE t.upto <= $2::bigint OR t.place = (SELECT min(place) FROM taken WHERE id IS NOT NULL)
ORDER BY t.place;

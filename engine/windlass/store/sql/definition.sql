-- name: definition_lock_id
-- Serialises uploads of one id to one schema until the transaction ends; the number is a name space of our own.
SELECT pg_advisory_xact_lock(hashtextextended(concat(current_schema(), '/', $1::text), 4893219751932018000));

-- name: definition_find_equal
-- The version whose content equals this one as JSON values, whatever the key order (contract 3.6).
SELECT version, name, description, uploaded_at
FROM workflow_definition
WHERE id = $1 AND raw_json - 'version' = $2::jsonb
ORDER BY version
LIMIT 1;

-- name: definition_insert
-- A new version, one above the newest; called under definition_lock_id.
INSERT INTO workflow_definition
    (id, version, name, description, raw_json, parsed_steps, auto_start_next_workflow_id, uploaded_at, source)
SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4::jsonb, $5::jsonb, $6, clock_timestamp(), $7
FROM workflow_definition
WHERE id = $1
RETURNING version, name, description, uploaded_at;

-- name: definition_audit
-- A new version was stored, by $3 (contract 8.3).
INSERT INTO audit_log (at, actor, kind, detail)
VALUES (clock_timestamp(), $3, 'definition-uploaded',
        jsonb_build_object('definition_id', $1::text, 'version', $2::integer));

-- name: definition_get
-- One version's text; rows stored by others have no source and fall back to raw_json.
SELECT id, version, coalesce(source, raw_json::text) AS source
FROM workflow_definition
WHERE id = $1 AND version = $2;

-- name: definition_get_latest
-- The newest version's text.
SELECT id, version, coalesce(source, raw_json::text) AS source
FROM workflow_definition
WHERE id = $1
ORDER BY version DESC
LIMIT 1;

-- name: definition_latest_versions
-- The newest version of each id, null where there is none; for definitions that are started by a chain.
SELECT w.id, d.version
FROM unnest($1::text::text[]) AS w (id)
LEFT JOIN LATERAL (
    SELECT version FROM workflow_definition WHERE id = w.id ORDER BY version DESC LIMIT 1
) AS d ON true;

-- name: definition_list
-- A page of the newest version of each id after $4; $1 is an escaped LIKE pattern or null (contract 1.5). As many as have
-- $5 bytes of JSON, in which a character takes six at most, but one at least; `found` counts those of the page. Lengths
-- are known without unpacking. $6 has the ids that the caller may read, or is null for all.
WITH newest AS (
    SELECT DISTINCT ON (id) id, version, name, description, uploaded_at
    FROM workflow_definition
    ORDER BY id, version DESC
), matching AS (
    SELECT * FROM newest
    WHERE ($1::text IS NULL OR id ILIKE $1 OR name ILIKE $1) AND ($6::text IS NULL OR id = ANY ($6::text::text[]))
), page AS (
    SELECT m.* FROM matching AS m WHERE m.id > $4::text ORDER BY m.id LIMIT $2 OFFSET $3
), measured AS (
    SELECT p.*, row_number() OVER by_id AS place,
           sum(200 + 6 * (octet_length(p.id) + octet_length(p.name) + coalesce(octet_length(p.description), 0)::bigint))
               OVER by_id AS upto
    FROM page AS p
    WINDOW by_id AS (ORDER BY p.id)
)
SELECT m.id, m.version, m.name, m.description, m.uploaded_at,
       (SELECT count(*) FROM matching) AS total, (SELECT count(*) FROM page) AS found
FROM measured AS m
WHERE m.place = 1 OR m.upto <= $5::bigint
ORDER BY m.id;

-- name: definition_count
-- The total of definition_list, for a page past the end.
SELECT count(*) FROM (
    SELECT DISTINCT ON (id) id, name FROM workflow_definition ORDER BY id, version DESC
) AS newest
WHERE ($1::text IS NULL OR id ILIKE $1 OR name ILIKE $1) AND ($2::text IS NULL OR id = ANY ($2::text::text[]));

-- name: definition_job_types
-- Every job type of every stored version, in order: the topics that must exist (contract 6.6).
SELECT DISTINCT coalesce(nullif(s.step ->> 'jobType', ''), s.step ->> 'id') AS job_type
FROM workflow_definition AS d
CROSS JOIN LATERAL jsonb_array_elements(d.parsed_steps) AS s (step)
WHERE s.step ->> 'type' = 'SERVICE_TASK'
ORDER BY 1;

-- name: worker_register
-- A worker says who it is, or says it anew; `is_new` unless there is a row of it.
INSERT INTO windlass_worker (id, job_types, version, capacity, heartbeat_s, registered_at, last_seen_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET job_types = $2, version = $3, capacity = $4, heartbeat_s = $5,
    registered_at = excluded.registered_at, last_seen_at = excluded.last_seen_at
RETURNING id, job_types, version, capacity, heartbeat_s, registered_at, last_seen_at, false AS is_late, xmax = 0 AS is_new;

-- name: worker_beat
-- A registered worker is alive; no row: it is not registered.
UPDATE windlass_worker SET last_seen_at = clock_timestamp() WHERE id = $1 RETURNING id;

-- name: worker_remove
-- A worker leaves; no row: it was not registered.
DELETE FROM windlass_worker WHERE id = $1 RETURNING id;

-- name: worker_list
-- A page of those that are alive, in order of ids, after $3; late is one whose heartbeat should have come by now. As many
-- as have $4 bytes of JSON, in which a character takes six at most, but one at least; `found` counts those of the page.
WITH page AS (
    SELECT id, job_types, version, capacity, heartbeat_s, registered_at, last_seen_at,
           last_seen_at < clock_timestamp() - 1.5 * heartbeat_s * interval '1 second' AS is_late
    FROM windlass_worker
    WHERE last_seen_at > clock_timestamp() - 3 * heartbeat_s * interval '1 second' AND id > $3::text
    ORDER BY id
    LIMIT $1 OFFSET $2
), measured AS (
    SELECT p.*, row_number() OVER by_id AS place,
           sum(400 + 6 * (octet_length(p.id) + octet_length(p.version) + octet_length(array_to_string(p.job_types, '""'))::bigint))
               OVER by_id AS upto
    FROM page AS p
    WINDOW by_id AS (ORDER BY p.id)
)
SELECT m.*, (SELECT count(*) FROM page) AS found
FROM measured AS m
WHERE m.place = 1 OR m.upto <= $4::bigint
ORDER BY m.id;

-- name: worker_count
-- The total of worker_list.
SELECT count(*) FROM windlass_worker WHERE last_seen_at > clock_timestamp() - 3 * heartbeat_s * interval '1 second';

-- name: worker_remove_stale
-- Removes up to $1 that have been gone for an hour, beside whoever does the same.
DELETE FROM windlass_worker
WHERE id IN (
    SELECT id FROM windlass_worker
    WHERE last_seen_at < clock_timestamp() - 3 * heartbeat_s * interval '1 second' - interval '1 hour'
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING id;

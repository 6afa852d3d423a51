-- name: worker_register
-- A worker says who it is, or says it anew; `is_new` unless there is a row of it. $6 is its principal, null while
-- authentication is off; no row: another one's worker, which is alive, has the id, and $7, whether this is an admin, is not true.
INSERT INTO windlass_worker AS w (id, job_types, version, capacity, heartbeat_s, registered_at, last_seen_at, principal)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp(), $6::text)
ON CONFLICT (id) DO UPDATE
SET job_types = $2, version = $3, capacity = $4, heartbeat_s = $5,
    registered_at = excluded.registered_at, last_seen_at = excluded.last_seen_at, principal = excluded.principal
WHERE $6::text IS NULL OR w.principal IS NULL OR w.principal = $6::text OR $7::boolean
   OR w.last_seen_at <= clock_timestamp() - 3 * w.heartbeat_s * interval '1 second'
RETURNING id, job_types, version, capacity, heartbeat_s, registered_at, last_seen_at, false AS is_late, xmax = 0 AS is_new;

-- name: worker_beat
-- A registered worker is alive; no row: it is not registered, or is not of the principal $2, who is no admin ($3).
UPDATE windlass_worker SET last_seen_at = clock_timestamp()
WHERE id = $1 AND ($2::text IS NULL OR principal IS NULL OR principal = $2::text OR $3::boolean)
RETURNING id;

-- name: worker_remove
-- A worker leaves; no row as for worker_beat.
DELETE FROM windlass_worker
WHERE id = $1 AND ($2::text IS NULL OR principal IS NULL OR principal = $2::text OR $3::boolean)
RETURNING id;

-- name: worker_is_registered
-- Tells a worker that is another principal's from one that is not there.
SELECT 1 FROM windlass_worker WHERE id = $1;

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

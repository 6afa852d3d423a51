-- name: node_beat
-- Marks this node as alive by the database's clock, and removes rows of nodes not seen for an hour. $5 is when it started,
-- null at its first beat. `is_shared`: within $6 seconds another process wrote this row.
WITH gone AS (
    DELETE FROM windlass_node WHERE last_seen_at < clock_timestamp() - interval '1 hour' AND id <> $1
), before AS (
    SELECT started_at IS DISTINCT FROM $5::timestamptz
           AND last_seen_at > clock_timestamp() - $6::float8 * interval '1 second' AS is_shared
    FROM windlass_node WHERE id = $1
)
INSERT INTO windlass_node (id, role, version, dispatch_mode, started_at, last_seen_at)
VALUES ($1, $2, $3, $4, coalesce($5::timestamptz, clock_timestamp()), clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET role = $2, version = $3, dispatch_mode = $4, last_seen_at = excluded.last_seen_at, started_at = excluded.started_at
RETURNING started_at, coalesce((SELECT is_shared FROM before), false) AS is_shared;

-- name: node_holder
-- Who has the name $1, asked at a boot. `is_gone`: no session is left of those that the holder had when it wrote its row,
-- whose application_name begins with $2 (null: not to be judged so). A session of another role hides when it began; and
-- after a restart of the server nobody has one.
SELECT role, version, started_at, last_seen_at,
       extract(epoch FROM clock_timestamp() - last_seen_at)::float8 AS age_s,
       $2::text IS NOT NULL AND pg_postmaster_start_time() < last_seen_at AND NOT EXISTS (
           SELECT FROM pg_stat_activity AS a
           WHERE a.datname = current_database() AND starts_with(a.application_name, $2)
           AND (a.backend_start IS NULL OR a.backend_start < last_seen_at)
       ) AS is_gone
FROM windlass_node
WHERE id = $1;

-- name: node_claim
-- Takes the name for this process, unless anybody has written its row since $5, null: since there was none. Of two
-- processes that boot at one moment one gets it.
INSERT INTO windlass_node (id, role, version, dispatch_mode, started_at, last_seen_at)
VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET role = $2, version = $3, dispatch_mode = $4, last_seen_at = excluded.last_seen_at, started_at = excluded.started_at
WHERE windlass_node.last_seen_at = $5::timestamptz
RETURNING started_at;

-- name: node_list
-- All nodes; alive means seen within $1 seconds.
SELECT id, role, version, dispatch_mode, started_at, last_seen_at,
       last_seen_at > clock_timestamp() - $1::float8 * interval '1 second' AS alive
FROM windlass_node
ORDER BY id;

-- name: node_leave
-- A node that stops in good order takes its row with it, unless a successor of the same name has written it ($2).
DELETE FROM windlass_node WHERE id = $1 AND started_at = $2;

-- name: notify
-- A hint to other nodes, from a connection of its own and never inside a hot transaction (contract 6.1).
SELECT pg_notify($1, $2);

-- name: notify_channel
-- Where the nodes of schema $1, null: the session's, hear each other: notifications reach the whole database, in which
-- other schemas may hold engines too.
SELECT concat('windlass_jobs', (
    SELECT concat('_', n.oid)
    FROM pg_namespace AS n
    WHERE n.nspname = coalesce($1::text, current_schema()::text) AND n.nspname <> 'public'
)) AS channel;

-- name: bus_channel
-- Where the nodes of schema $1, null: the session's, hear each other outside the database, on a bus that other
-- installations may use too.
SELECT concat_ws(':', 'windlass', c.system_identifier, d.oid, n.oid) AS channel
FROM pg_control_system() AS c, pg_database AS d, pg_namespace AS n
WHERE d.datname = current_database() AND n.nspname = coalesce($1::text, current_schema()::text);

-- name: ping
-- Does the database answer?
SELECT 1;

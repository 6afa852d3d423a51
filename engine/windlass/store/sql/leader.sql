-- name: leader_try_lock
-- The fast path to the lead: a lock that is released with its session (contract 9.2). `is_vacant`: nobody leads, or the
-- leader has not renewed its term in time. In schema public the lock is the one that others know; in every other one it
-- is that schema's own.
SELECT pg_try_advisory_lock(
    4893219751932018491 # CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(concat(current_schema()), 0) END
       ) AS is_locked,
       coalesce((SELECT expires_at <= clock_timestamp() FROM windlass_leader WHERE name = 'relay'), true) AS is_vacant;

-- name: leader_is_vacant
-- The same without the lock, where no session can hold it.
SELECT coalesce((SELECT expires_at <= clock_timestamp() FROM windlass_leader WHERE name = 'relay'), true) AS is_vacant;

-- name: leader_take
-- Takes the lead for $2 seconds in a new epoch when it is vacant; or, for the session that got the lock ($3), when the
-- leader held the lock and its session has ended: its expiry need not be awaited. No row: another node leads.
INSERT INTO windlass_leader AS l (name, holder, epoch, expires_at, session_pid)
VALUES ('relay', $1, 1, clock_timestamp() + $2::float8 * interval '1 second',
        CASE WHEN $3::boolean THEN pg_backend_pid() END)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, epoch = l.epoch + 1, expires_at = excluded.expires_at, session_pid = excluded.session_pid
WHERE l.expires_at <= clock_timestamp()
   OR ($3::boolean AND l.session_pid IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a WHERE a.pid = l.session_pid))
RETURNING epoch;

-- name: leader_renew
-- Another $2 seconds for the leader of epoch $1, and whether it has the lock by now ($3). No row: it was replaced.
UPDATE windlass_leader
SET expires_at = clock_timestamp() + $2::float8 * interval '1 second',
    session_pid = CASE WHEN $3::boolean THEN pg_backend_pid() END
WHERE name = 'relay' AND epoch = $1
RETURNING epoch;

-- name: leader_resign
-- A leader that stops in good order leaves the lead vacant.
UPDATE windlass_leader SET expires_at = clock_timestamp() WHERE name = 'relay' AND epoch = $1;

-- name: leader_unlock
-- Gives the lock of leader_try_lock back.
SELECT pg_advisory_unlock(
    4893219751932018491 # CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(concat(current_schema()), 0) END
);

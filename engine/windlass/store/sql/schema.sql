-- name: schema_lock
-- One migrator at a time; session level, so that it spans the migrations' own transactions.
SELECT pg_advisory_lock(4893219751932018490);

-- name: schema_unlock
-- Ends schema_lock.
SELECT pg_advisory_unlock(4893219751932018490);

-- name: schema_table
-- The version row, in the shape of the other engine's migration tool (contract 9.1).
CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);

-- name: schema_version
-- 0 on a fresh database.
SELECT coalesce(max(version), 0) AS version, coalesce(bool_or(dirty), false) AS dirty FROM schema_migrations;

-- name: schema_clear_version
-- Half of moving the single row; in the migration's transaction.
DELETE FROM schema_migrations;

-- name: schema_set_version
-- The other half.
INSERT INTO schema_migrations (version, dirty) VALUES ($1, false);

-- name: schema_state
-- Is there a version row at all, and does the database take writes? Asked by readiness, which must not create anything.
-- writes_stopped is what ALTER DATABASE and ALTER ROLE tell the next session, null when they tell it nothing.
SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there,
       pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only')::boolean AS is_read_only,
       (SELECT split_part(setting, '=', 2)
        FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setting LIKE 'default_transaction_read_only=%'
          AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
        ORDER BY setrole = 0, setdatabase = 0
        LIMIT 1) AS writes_stopped;

-- name: schema_pid
-- Of this session, for schema_blockers.
SELECT pg_backend_pid() AS pid;

-- name: schema_blockers
-- Who holds what the session $1 waits for. since: of its transaction, or of its last statement's end.
SELECT blocker.pid, coalesce(activity.application_name, '') AS application_name,
       coalesce(activity.xact_start, activity.state_change, activity.backend_start) AS since
FROM unnest(pg_blocking_pids($1)) AS blocker (pid)
LEFT JOIN pg_stat_activity AS activity USING (pid)
ORDER BY blocker.pid;

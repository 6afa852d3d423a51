-- name: schema_transaction
-- First in a migration's transaction: no time-out of the role's or the pooler's ends it, or its wait for a lock. Its pid.
SELECT pg_backend_pid() AS pid, count(set_config(name, CASE vartype WHEN 'enum' THEN 'warning' ELSE '0' END, true))
FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout',
               'client_min_messages');

-- name: schema_lock
-- One migrator at a time in one schema, until its transaction ends: a pooler may give the next one another backend.
SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 4893219751932018490));

-- name: schema_patience
-- How long the rest of the transaction may wait for each lock: until now it waited without a limit, for other nodes.
SELECT set_config('lock_timeout', $1, true);

-- name: schema_snapshot
-- The catalog and the numbers are read by several statements and compared.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: schema_shared_table
-- The version row, in the shape of the other engine's migration tool (contract 9.1).
CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);

-- name: schema_shared
-- No row is version 0: nothing was applied.
SELECT count(*) AS rows, coalesce(max(version), 0) AS version, coalesce(bool_or(dirty), false) AS dirty
FROM schema_migrations;

-- name: schema_clear_shared
-- Half of moving the single row; in the migration's transaction.
DELETE FROM schema_migrations;

-- name: schema_set_shared
-- The other half.
INSERT INTO schema_migrations (version, dirty) VALUES ($1, false);

-- name: schema_ledger_table
-- Which of our own migrations were applied (contract 9.3).
CREATE TABLE IF NOT EXISTS windlass_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: schema_ledger
-- Their numbers.
SELECT coalesce(array_agg(version ORDER BY version), '{}') AS versions FROM windlass_migration;

-- name: schema_ledger_add
-- In the migration's transaction.
INSERT INTO windlass_migration (version, name) VALUES ($1, $2);

-- name: schema_state
-- What is there by one of the names $1 in the schema where tables are made, as JSON: kind, owner of an index, columns with
-- their types and whether an insert must give them. And does the database take writes? Asked by readiness too, which must
-- not create anything. writes_stopped is what ALTER DATABASE and ALTER ROLE tell the next session, null when nothing.
SELECT current_schema() AS schema,
       (SELECT coalesce(json_object_agg(c.relname, json_build_object(
                   'kind', c.relkind,
                   'of', (SELECT t.relname FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
                          WHERE i.indexrelid = c.oid),
                   'columns', (SELECT coalesce(json_object_agg(a.attname, json_build_array(
                                          format_type(a.atttypid, NULL),
                                          a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')), '{}')
                               FROM pg_attribute AS a
                               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))), '{}')::text
        FROM pg_class AS c
        WHERE c.relname = ANY ($1::text[])
          AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())) AS relations,
       pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only')::boolean AS is_read_only,
       (SELECT split_part(setting, '=', 2)
        FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setting LIKE 'default_transaction_read_only=%'
          AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
        ORDER BY setrole = 0, setdatabase = 0
        LIMIT 1) AS writes_stopped;

-- name: schema_blockers
-- Who holds what the session $1 waits for. since: of its transaction, or of its last statement's end.
SELECT blocker.pid, coalesce(activity.application_name, '') AS application_name,
       coalesce(activity.xact_start, activity.state_change, activity.backend_start) AS since
FROM unnest(pg_blocking_pids($1)) AS blocker (pid)
LEFT JOIN pg_stat_activity AS activity USING (pid)
ORDER BY blocker.pid;

-- name: schema_is_on_standby
-- Whether this session's server only follows another one, so that it may show the past.
SELECT pg_is_in_recovery();

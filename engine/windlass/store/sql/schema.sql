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

-- name: schema_has_table
-- Is there a version row at all? Asked by readiness, which must not create anything.
SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there;

-- name: session_backend
-- The process that serves this statement; behind a pooler it is not the one that the protocol has told.
SELECT pg_backend_pid();

-- name: session_statement_names
-- Under which names the server knows the statement $1.
SELECT name FROM pg_prepared_statements WHERE statement = $1;

-- name: session_server
-- The database that a session leads to: two sessions with one answer are in one database of one server.
SELECT current_database() AS database, pg_postmaster_start_time() AS started_at;

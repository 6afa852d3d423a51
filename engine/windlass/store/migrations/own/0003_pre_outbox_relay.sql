-- What the relay of mode kafka_outbox needs. Additive: the previous release, and another engine, run on this schema.

-- The order of dispatch: taken while the instance's row is locked, so the rows of one instance become visible in it. Rows
-- that another engine left are numbered as they were made.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'dispatch_outbox'::regclass AND attname = 'position' AND NOT attisdropped
    ) THEN
        ALTER TABLE dispatch_outbox ADD COLUMN position bigint;
        UPDATE dispatch_outbox AS o SET position = made.place
        FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS place FROM dispatch_outbox) AS made
        WHERE o.id = made.id;
        ALTER TABLE dispatch_outbox ALTER COLUMN position SET NOT NULL;
        ALTER TABLE dispatch_outbox ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY;
        PERFORM setval(pg_get_serial_sequence('dispatch_outbox', 'position'), coalesce(max(position), 0) + 1, false)
        FROM dispatch_outbox;
    END IF;
END
$$;
-- Serves outbox_head: the oldest rows of each topic, whatever the backlog of the others.
CREATE INDEX IF NOT EXISTS idx_dispatch_outbox_topic ON dispatch_outbox (job_type, position) INCLUDE (id);
-- Serves the question whether a job's event still waits here.
CREATE INDEX IF NOT EXISTS idx_dispatch_outbox_job ON dispatch_outbox (job_id);

-- Jobs that the broker acknowledged. It is a table of its own because a job's row is wide and its updates are dear; rows
-- of jobs that are done go when their deadline has passed, so that a completion pays nothing for them.
CREATE TABLE IF NOT EXISTS windlass_job_dispatch (
    job_id     text PRIMARY KEY,
    deliveries integer NOT NULL,
    -- Dispatched again if it is not done by then; null while its next event waits in dispatch_outbox.
    deadline   timestamptz
);
CREATE INDEX IF NOT EXISTS idx_windlass_job_dispatch_deadline ON windlass_job_dispatch (deadline);

-- Who may do what only one node may do, judged by the database's clock alone.
CREATE TABLE IF NOT EXISTS windlass_leader (
    name        text PRIMARY KEY,
    holder      text NOT NULL,
    -- Up by one with every change of the holder; compared by the statements that only the leader may run.
    epoch       bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    -- The backend that holds the advisory lock too; null when the holder leads without it.
    session_pid integer
);

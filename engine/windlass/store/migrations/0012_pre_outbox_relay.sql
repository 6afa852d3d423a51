-- What the relay of mode kafka_outbox needs. Additive: the previous release, and another engine, run on this schema.

-- The order of dispatch: taken while the instance's row is locked, so the rows of one instance become visible in it.
ALTER TABLE dispatch_outbox ADD COLUMN position bigint GENERATED ALWAYS AS IDENTITY;
-- Serves outbox_head: the oldest rows of each topic, whatever the backlog of the others.
CREATE INDEX idx_dispatch_outbox_topic ON dispatch_outbox (job_type, position) INCLUDE (id);
-- Serves the question whether a job's event still waits here.
CREATE INDEX idx_dispatch_outbox_job ON dispatch_outbox (job_id);

-- Jobs that the broker acknowledged. It is a table of its own because a job's row is wide and its updates are dear; rows
-- of jobs that are done go when their deadline has passed, so that a completion pays nothing for them.
CREATE TABLE windlass_job_dispatch (
    job_id     text PRIMARY KEY,
    deliveries integer NOT NULL,
    -- Dispatched again if it is not done by then; null while its next event waits in dispatch_outbox.
    deadline   timestamptz
);
CREATE INDEX idx_windlass_job_dispatch_deadline ON windlass_job_dispatch (deadline);

-- Who may do what only one node may do, judged by the database's clock alone.
CREATE TABLE windlass_leader (
    name        text PRIMARY KEY,
    holder      text NOT NULL,
    -- Up by one with every change of the holder; compared by the statements that only the leader may run.
    epoch       bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    -- The backend that holds the advisory lock too; null when the holder leads without it.
    session_pid integer
);

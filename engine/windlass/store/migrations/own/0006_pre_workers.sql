-- Workers that have said who they are; a worker need not. Its heartbeats write its row on the database's clock.
CREATE TABLE IF NOT EXISTS windlass_worker (
    id            text PRIMARY KEY,
    job_types     text[] NOT NULL,
    version       text NOT NULL,
    capacity      integer NOT NULL,
    -- How often it means to send a heartbeat; three missed ones make it count as gone.
    heartbeat_s   double precision NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now()
);

-- Ours, additive: the previous release runs on this schema.

-- The uploaded text in its own order: jsonb sorts keys, and branch order is a promise (contract 4.4).
ALTER TABLE workflow_definition ADD COLUMN IF NOT EXISTS source text;

-- The engine's memory of an instance (windlass/instance.py): one locked read gives all a decision needs.
ALTER TABLE workflow_instance ADD COLUMN IF NOT EXISTS progress text;

ALTER TABLE job ADD COLUMN IF NOT EXISTS step_id text;
-- Counts acquisitions of this job: new at each one, compared in the statement that writes (contract 1.6).
ALTER TABLE job ADD COLUMN IF NOT EXISTS lease_token bigint;
ALTER TABLE job ADD COLUMN IF NOT EXISTS lease_expiries integer;
-- Set when a job goes back to the tail of its queue after a retryable failure (contract 11 row 29).
ALTER TABLE job ADD COLUMN IF NOT EXISTS requeued_at timestamptz;

-- Serves job_claim: the oldest claimable jobs of one type, in order, whatever the backlog.
CREATE INDEX IF NOT EXISTS idx_job_claimable ON job (job_type, (coalesce(requeued_at, created_at)), id)
    WHERE status = 'UNLOCKED';

-- Nodes that serve this database; a node writes its own row, on the database's clock.
CREATE TABLE IF NOT EXISTS windlass_node (
    id            text PRIMARY KEY,
    role          text NOT NULL,
    version       text NOT NULL,
    dispatch_mode text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now()
);

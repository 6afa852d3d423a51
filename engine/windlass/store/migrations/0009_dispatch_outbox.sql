CREATE TABLE dispatch_outbox (
    id          text PRIMARY KEY,
    job_id      text NOT NULL REFERENCES job (id),
    instance_id text NOT NULL,
    job_type    text NOT NULL,
    payload     bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_dispatch_outbox_created_at ON dispatch_outbox (created_at);

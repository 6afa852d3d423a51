CREATE TABLE job (
    id                text PRIMARY KEY,
    instance_id       text NOT NULL,
    step_execution_id text NOT NULL REFERENCES step_execution (id),
    job_type          text NOT NULL,
    status            text NOT NULL DEFAULT 'UNLOCKED',
    worker_id         text,
    locked_at         timestamptz,
    lock_expires_at   timestamptz,
    retries_remaining integer NOT NULL DEFAULT 0,
    payload           jsonb NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now()
);

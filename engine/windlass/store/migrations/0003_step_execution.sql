CREATE TABLE step_execution (
    id              text PRIMARY KEY,
    instance_id     text NOT NULL REFERENCES workflow_instance (id),
    step_id         text NOT NULL,
    step_type       text NOT NULL,
    attempt_number  integer NOT NULL DEFAULT 1,
    status          text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    input_snapshot  jsonb,
    output_snapshot jsonb,
    failure_reason  text
);

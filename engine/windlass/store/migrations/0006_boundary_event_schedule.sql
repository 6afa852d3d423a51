CREATE TABLE boundary_event_schedule (
    id                text PRIMARY KEY,
    instance_id       text NOT NULL REFERENCES workflow_instance (id),
    step_execution_id text NOT NULL REFERENCES step_execution (id),
    target_step_id    text NOT NULL,
    fire_at           timestamptz NOT NULL,
    interrupting      boolean NOT NULL DEFAULT false,
    fired             boolean NOT NULL DEFAULT false
);

CREATE TABLE user_task (
    id                text PRIMARY KEY,
    instance_id       text NOT NULL REFERENCES workflow_instance (id),
    step_execution_id text NOT NULL REFERENCES step_execution (id),
    step_id           text NOT NULL,
    status            text NOT NULL DEFAULT 'OPEN',
    assignee          text,
    assignee_group    text,
    payload           jsonb,
    result            jsonb,
    created_at        timestamptz NOT NULL DEFAULT now(),
    completed_at      timestamptz
);

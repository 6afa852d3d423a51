CREATE TABLE workflow_instance (
    id                 text PRIMARY KEY,
    definition_id      text NOT NULL,
    definition_version integer NOT NULL,
    status             text NOT NULL,
    current_step_ids   text[] NOT NULL DEFAULT '{}',
    variables          jsonb NOT NULL DEFAULT '{}',
    started_at         timestamptz NOT NULL DEFAULT now(),
    completed_at       timestamptz,
    failure_reason     text,
    business_key       text
);

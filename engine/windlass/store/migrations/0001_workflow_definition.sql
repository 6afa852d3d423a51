CREATE TABLE workflow_definition (
    pk                          bigserial PRIMARY KEY,
    id                          text NOT NULL,
    version                     integer NOT NULL,
    name                        text NOT NULL,
    description                 text,
    raw_json                    jsonb NOT NULL,
    parsed_steps                jsonb NOT NULL,
    auto_start_next_workflow_id text,
    uploaded_at                 timestamptz NOT NULL DEFAULT now(),
    uploaded_by                 text,
    UNIQUE (id, version)
);
CREATE INDEX idx_workflow_definition_id ON workflow_definition (id);
CREATE INDEX idx_workflow_definition_uploaded_at ON workflow_definition (uploaded_at DESC);

-- What removes finished instances (store/sql/retention.sql) finds their rows by these, and so do the checks of foreign
-- keys, which ask for each removed row whether another still refers to it.
CREATE INDEX IF NOT EXISTS idx_windlass_job_step ON job (step_execution_id);
CREATE INDEX IF NOT EXISTS idx_windlass_user_task_step ON user_task (step_execution_id);
CREATE INDEX IF NOT EXISTS idx_windlass_boundary_event_instance ON boundary_event_schedule (instance_id);
CREATE INDEX IF NOT EXISTS idx_windlass_boundary_event_step ON boundary_event_schedule (step_execution_id);
DO $$
BEGIN
    -- Another engine's, in this schema; it finds its own pending rows by the other column.
    IF to_regclass(format('%I.workflow_chain', current_schema())) IS NOT NULL THEN
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I.workflow_chain (child_instance_id)',
            'idx_windlass_chain_child', current_schema()
        );
    END IF;
END
$$;

-- Six indexes of 0008 that no statement of ours reads. Each status change wrote to all of them: without them a job costs
-- about a fifth less PostgreSQL CPU (scripts/bench), and an instance's update stays in its page. Whoever runs on this
-- schema without us loses speed, no promise: this is why it may stand here although the contract's additions only add.
-- They are found by their columns: in a database that another engine made their names differ.
DO $$
DECLARE
    unread regclass;
BEGIN
    FOR unread IN
        SELECT i.indexrelid
        FROM pg_index AS i
        JOIN pg_class AS t ON t.oid = i.indrelid AND t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        JOIN (VALUES ('job', 'status,job_type'), ('job', 'status,locked_at'), ('job', 'status,lock_expires_at'),
                     ('step_execution', 'instance_id,step_id,attempt_number'),
                     ('workflow_instance', 'definition_id,status'),
                     -- Four audit rows a job went into it; a kind is half the table anyway, and time narrows the rest
                     -- at next to no cost.
                     ('audit_log', 'kind,at')) AS six (relation, columns) ON six.relation = t.relname
        WHERE NOT i.indisunique
          AND six.columns = (SELECT string_agg(coalesce(a.attname, ''), ',' ORDER BY k.place)
                             FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
                             LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number)
    LOOP
        EXECUTE 'DROP INDEX ' || unread;
    END LOOP;
END
$$;

-- Serves instance_list by definition, in its order; the status is filtered on the way.
CREATE INDEX IF NOT EXISTS idx_instance_definition_started ON workflow_instance (definition_id, started_at DESC, id DESC);

CREATE INDEX IF NOT EXISTS idx_audit_log_at ON audit_log USING brin (at);

-- Room in the page for the one or two updates every row gets.
ALTER TABLE workflow_instance SET (fillfactor = 75);
ALTER TABLE step_execution SET (fillfactor = 80);

-- When autovacuum visits the tables that change all the time; docs/size-and-care.md gives the reasons and the figures.
-- What an operator has set for a table stays.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT v.relation, v.settings
        FROM (VALUES
            -- Each job leaves two or three dead rows, and dead entries in the index that polls read from its beginning.
            ('job', 'autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000'),
            -- Their updates stay in the page and are cleaned there; what retention removes is not.
            ('workflow_instance', 'autovacuum_vacuum_scale_factor = 0.05'),
            ('step_execution', 'autovacuum_vacuum_scale_factor = 0.05'),
            ('user_task', 'autovacuum_vacuum_scale_factor = 0.05'),
            ('boundary_event_schedule', 'autovacuum_vacuum_scale_factor = 0.05'),
            ('audit_log', 'autovacuum_vacuum_scale_factor = 0.05'),
            -- Queues: a few live rows and any number of dead ones, so a share of the live rows means nothing. They are
            -- small, so nothing is gained by pausing; and cutting off their end would lock out the relay.
            ('dispatch_outbox', 'autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, '
                                'autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off'),
            ('windlass_job_dispatch', 'autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, '
                                      'autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off')
        ) AS v (relation, settings)
        JOIN pg_class AS c ON c.oid = to_regclass(v.relation)
        WHERE NOT EXISTS (
            SELECT FROM unnest(c.reloptions) AS option WHERE option LIKE 'autovacuum%' OR option LIKE 'vacuum%'
        )
    LOOP
        EXECUTE format('ALTER TABLE %I SET (%s)', wanted.relation, wanted.settings);
    END LOOP;
END
$$;

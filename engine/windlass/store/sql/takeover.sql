-- name: takeover_planner
-- The engine's sessions plan for small sets by index; another engine's tables have no index for what is asked here.
SELECT count(set_config(name, 'on', true)) FROM pg_settings
WHERE name IN ('enable_seqscan', 'enable_hashjoin', 'enable_mergejoin');

-- name: takeover_instances
-- At most $2 instances after $1 that run and that this engine has no memory of, with their executions and what is open for
-- them, as JSON. The column progress may not be there yet: then the name means the one of `absent`.
WITH begun AS MATERIALIZED (
    SELECT live.*
    FROM (VALUES (NULL::text)) AS absent (progress)
    CROSS JOIN LATERAL (
        SELECT id, definition_id, definition_version, current_step_ids
        FROM workflow_instance
        WHERE status IN ('ACTIVE', 'WAITING') AND progress IS NULL AND id > $1
        ORDER BY id
        LIMIT $2
    ) AS live
), execution AS MATERIALIZED (
    SELECT s.id, s.instance_id, s.step_id, s.attempt_number, s.status, s.started_at
    FROM step_execution AS s
    WHERE s.instance_id IN (SELECT id FROM begun)
), open_job AS MATERIALIZED (
    SELECT step_execution_id, json_agg(id ORDER BY id) AS ids
    FROM job
    WHERE status IN ('UNLOCKED', 'LOCKED') AND step_execution_id IN (SELECT id FROM execution WHERE status = 'RUNNING')
    GROUP BY step_execution_id
), open_task AS MATERIALIZED (
    SELECT step_execution_id, json_agg(id ORDER BY id) AS ids
    FROM user_task
    WHERE status = 'OPEN' AND step_execution_id IN (SELECT id FROM execution WHERE status = 'RUNNING')
    GROUP BY step_execution_id
), open_timer AS MATERIALIZED (
    SELECT step_execution_id, json_agg(id ORDER BY id) AS ids
    FROM boundary_event_schedule
    WHERE NOT fired AND step_execution_id IN (SELECT id FROM execution WHERE status = 'RUNNING')
    GROUP BY step_execution_id
), history AS MATERIALIZED (
    SELECT e.instance_id, json_agg(json_build_object(
               'id', e.id, 'step_id', e.step_id, 'attempt', e.attempt_number, 'status', e.status,
               'job_ids', coalesce(j.ids, '[]'), 'user_task_ids', coalesce(k.ids, '[]'),
               'timer_ids', coalesce(t.ids, '[]')) ORDER BY e.started_at, e.id) AS executions
    FROM execution AS e
    LEFT JOIN open_job AS j ON j.step_execution_id = e.id
    LEFT JOIN open_task AS k ON k.step_execution_id = e.id
    LEFT JOIN open_timer AS t ON t.step_execution_id = e.id
    GROUP BY e.instance_id
)
SELECT coalesce(json_agg(json_build_object(
           'id', b.id, 'definition_id', b.definition_id, 'version', b.definition_version,
           'current_step_ids', to_json(b.current_step_ids), 'executions', coalesce(h.executions, '[]')) ORDER BY b.id),
       '[]')::text AS instances
FROM begun AS b
LEFT JOIN history AS h ON h.instance_id = b.id;

-- name: takeover_definition
-- The text of one version; as in definition_get, before the column source is there.
SELECT stored.text
FROM (VALUES (NULL::text)) AS absent (source)
CROSS JOIN LATERAL (
    SELECT coalesce(source, raw_json::text) AS text FROM workflow_definition WHERE id = $1 AND version = $2
) AS stored;

-- name: takeover_has_chains
-- Is the other engine's table of chained starts there?
SELECT to_regclass(format('%I.workflow_chain', current_schema())) IS NOT NULL AS is_there;

-- name: takeover_chains
-- Chained starts that the other engine still owes: how many, and the instances that some of them follow.
SELECT count(*) AS pending, coalesce((array_agg(source_instance_id ORDER BY created_at))[1:3], '{}') AS source_ids
FROM workflow_chain
WHERE child_instance_id IS NULL;

-- name: takeover_remember
-- This engine's memory of the instances $1.
UPDATE workflow_instance AS i SET progress = u.progress
FROM unnest($1::text[], $2::text[]) AS u (id, progress)
WHERE i.id = u.id AND i.status IN ('ACTIVE', 'WAITING') AND i.progress IS NULL;

-- name: takeover_close_jobs
-- The other engine leaves the work of ended instances and steps as it was; workers would be handed it for ever.
UPDATE job AS j SET status = 'CANCELLED'
FROM step_execution AS s, workflow_instance AS i
WHERE j.status IN ('UNLOCKED', 'LOCKED') AND s.id = j.step_execution_id AND i.id = s.instance_id
  AND (s.status <> 'RUNNING' OR i.status NOT IN ('ACTIVE', 'WAITING'));

-- name: takeover_close_user_tasks
-- As takeover_close_jobs.
UPDATE user_task AS k SET status = 'CANCELLED', completed_at = now()
FROM step_execution AS s, workflow_instance AS i
WHERE k.status = 'OPEN' AND s.id = k.step_execution_id AND i.id = s.instance_id
  AND (s.status <> 'RUNNING' OR i.status NOT IN ('ACTIVE', 'WAITING'));

-- name: takeover_close_timers
-- As takeover_close_jobs.
UPDATE boundary_event_schedule AS t SET fired = true
FROM step_execution AS s, workflow_instance AS i
WHERE NOT t.fired AND s.id = t.step_execution_id AND i.id = s.instance_id
  AND (s.status <> 'RUNNING' OR i.status NOT IN ('ACTIVE', 'WAITING'));

-- name: takeover_name_steps
-- Open jobs say which step they are of; polls show it.
UPDATE job AS j SET step_id = s.step_id
FROM step_execution AS s
WHERE j.status IN ('UNLOCKED', 'LOCKED') AND j.step_id IS NULL AND s.id = j.step_execution_id;

-- name: timer_due
-- Timers whose time has come on the database's clock, oldest first; firing is decided later, under the instance lock.
SELECT id, instance_id, step_execution_id, target_step_id, interrupting
FROM boundary_event_schedule
WHERE NOT fired AND fire_at <= clock_timestamp()
ORDER BY fire_at
LIMIT $1;

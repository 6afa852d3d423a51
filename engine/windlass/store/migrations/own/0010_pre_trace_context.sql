-- The trace that whoever gets the job carries on: its traceparent, and after a blank its tracestate. Null in most rows,
-- where it takes no room: of instances that nobody traces, and of a release before this one.
ALTER TABLE job ADD COLUMN IF NOT EXISTS trace_context text;

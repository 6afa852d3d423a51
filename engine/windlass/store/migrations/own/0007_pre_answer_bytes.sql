-- What a job takes in an answer at most, over either door (store/sql/apply.sql): a claim stops before its answer gets
-- too large, and must not unpack payloads to know. Null in rows of a release before this one; the claim counts those.
ALTER TABLE job ADD COLUMN IF NOT EXISTS answer_bytes bigint;

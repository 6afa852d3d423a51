-- Who registered a worker: only the same principal beats, replaces or removes it. Null while authentication was off, and in
-- rows of a release before this one.
ALTER TABLE windlass_worker ADD COLUMN IF NOT EXISTS principal text;

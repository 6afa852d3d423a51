-- Lists of instances find them by index, whatever they are filtered by (store/sql/instance.sql). On a large table these
-- can be built beforehand without keeping writers waiting (UPGRADING.md); then there is nothing left to build here.
CREATE INDEX IF NOT EXISTS idx_windlass_instance_status
    ON workflow_instance (definition_id, status, started_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS idx_windlass_instance_key
    ON workflow_instance (business_key, definition_id, status, started_at DESC, id DESC) WHERE business_key IS NOT NULL;

-- The one of 0008 by the key alone does no more than that one, and has an entry for each instance without a key. It is
-- found by its column: in a database that another engine made its name may differ.
DO $$
DECLARE
    unread regclass;
BEGIN
    FOR unread IN
        SELECT i.indexrelid
        FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'business_key' AND i.indkey::text = a.attnum::text
        WHERE i.indrelid = 'workflow_instance'::regclass AND NOT i.indisunique AND i.indpred IS NULL
    LOOP
        EXECUTE 'DROP INDEX ' || unread;
    END LOOP;
END
$$;

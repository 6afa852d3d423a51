-- name: rights_place
-- The schema of the engine's tables when nothing but the role's search path names it: the first that it may use or, when
-- there is none, the first that there is. Not by current_schema(), which tries to make a temporary schema where nothing
-- else may be used. No row: there is none.
SELECT n.nspname
FROM pg_namespace AS n
JOIN unnest(string_to_array(
    replace(current_setting('search_path'), '"$user"', quote_ident(current_user)), ','
)) WITH ORDINALITY AS path (name, number) ON trim(path.name) = quote_ident(n.nspname)
ORDER BY NOT has_schema_privilege(n.oid, 'USAGE'), path.number
LIMIT 1;

-- name: rights_missing
-- What role $1 (null: the session's own) lacks of the privileges $4 on the tables $3 of the schema $2, one row for each
-- pair, and of what goes with them: entering the database, using the schema, and the sequences that number the rows it
-- inserts; in the order in which the lack would be met. Tables that are not there are left out: the schema is not
-- current then.
WITH who AS (
    SELECT coalesce($1::text, current_user::text)::name AS name
), place AS (
    SELECT n.oid, n.nspname FROM pg_namespace AS n WHERE n.nspname = $2::text
), wanted AS (
    SELECT c.oid, c.relname, u.privilege, u.number
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS u (name, privilege, number)
    JOIN pg_class AS c ON c.relname = u.name AND c.relnamespace = (SELECT oid FROM place) AND c.relkind IN ('r', 'p')
), lacking AS (
    SELECT 0 AS number, 'CONNECT' AS privilege, 'DATABASE' AS kind, quote_ident(current_database()) AS object
    FROM who
    WHERE NOT has_database_privilege(who.name, current_database(), 'CONNECT')
    UNION ALL
    SELECT 1, 'USAGE', 'SCHEMA', quote_ident(place.nspname)
    FROM who, place
    WHERE NOT has_schema_privilege(who.name, place.oid, 'USAGE')
    UNION ALL
    SELECT 1 + w.number, w.privilege, 'TABLE', format('%I.%I', place.nspname, w.relname)
    FROM who, place, wanted AS w
    WHERE NOT has_table_privilege(who.name, w.oid, w.privilege)
    UNION ALL
    SELECT 2 + w.number, 'USAGE', 'SEQUENCE', format('%I.%I', n.nspname, s.relname)
    FROM who, wanted AS w
    JOIN pg_attrdef AS d ON d.adrelid = w.oid
    JOIN pg_depend AS x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid AND x.refclassid = 'pg_class'::regclass
    JOIN pg_class AS s ON s.oid = x.refobjid AND s.relkind = 'S'
    JOIN pg_namespace AS n ON n.oid = s.relnamespace
    WHERE w.privilege = 'INSERT' AND NOT has_sequence_privilege(who.name, s.oid, 'USAGE, UPDATE')
)
SELECT who.name AS role, l.privilege, l.kind, l.object,
       format('GRANT %s ON %s %s TO %I', l.privilege, l.kind, l.object, who.name) AS remedy
FROM lacking AS l, who
ORDER BY l.number, l.kind DESC, l.object;

-- name: rights_missing_to_migrate
-- What this session's role lacks to bring the tables $2 of the schema $1 up to date. Only the owner of a table, and
-- members of that role, may alter it: there is no privilege for it.
WITH place AS (
    SELECT n.oid, n.nspname FROM pg_namespace AS n WHERE n.nspname = $1::text
), lacking AS (
    SELECT 0 AS number, 'CREATE' AS privilege, 'DATABASE' AS kind, quote_ident(current_database()) AS object,
           NULL::name AS owner
    WHERE NOT EXISTS (SELECT 1 FROM place) AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT u.number, u.privilege, 'SCHEMA', quote_ident(place.nspname), NULL
    FROM place, unnest(ARRAY['USAGE', 'CREATE']) WITH ORDINALITY AS u (privilege, number)
    WHERE NOT has_schema_privilege(place.oid, u.privilege)
    UNION ALL
    SELECT 3, 'ownership', 'TABLE', format('%I.%I', place.nspname, c.relname), o.rolname
    FROM place
    JOIN pg_class AS c ON c.relnamespace = place.oid AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p')
    JOIN pg_roles AS o ON o.oid = c.relowner
    WHERE NOT pg_has_role(c.relowner, 'USAGE')
)
SELECT current_user AS role, privilege, kind, object,
       CASE WHEN owner IS NULL THEN format('GRANT %s ON %s %s TO %I', privilege, kind, object, current_user)
            ELSE format('GRANT %I TO %I', owner, current_user) END AS remedy
FROM lacking
ORDER BY number, object;

-- name: rights_role_exists
-- Is there a role $1, and how is its name written in a statement?
SELECT quote_ident($1::text) AS quoted, EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1::text) AS is_there;

-- name: rights_lock
-- One at a time gives rights on these tables: of two at once PostgreSQL refuses one.
SELECT pg_advisory_xact_lock(hashtextextended(concat(current_schema()), 4893219751932018002));

-- name: rights_schema_state
-- Is the schema $1 there? Asked of the catalogue, since a search path leaves out what the role may not use.
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1::text) AS is_there,
       format('CREATE SCHEMA IF NOT EXISTS %I', $1::text) AS statement;

-- guards --
-- Tables whose triggers against changes are missing or switched off.
WITH guarded AS (
    SELECT c.oid, c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND (c.relname IN ('audit_logs', 'log_tiles')
           OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = 'public.audit_logs'::regclass))
)
SELECT g.relname AS name, count(*) FILTER (WHERE t.tgenabled = 'O') AS enabled
FROM guarded g LEFT JOIN pg_trigger t ON t.tgrelid = g.oid AND t.tgfoid IN
    ('public.refuse_change()'::regprocedure, 'public.guard_audit_logs()'::regprocedure)
GROUP BY g.relname HAVING count(*) FILTER (WHERE t.tgenabled = 'O') < 2 ORDER BY 1

-- leaf_checks --
-- Partitions of audit_logs that lack the constraint which ties leaf_hash to leaf, or have not validated it.
SELECT c.relname AS name FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE i.inhparent = 'public.audit_logs'::regclass AND NOT EXISTS (
    SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conname = 'leaf_hash_is_of_leaf' AND k.convalidated)
ORDER BY 1

-- rewriters --
-- Roles of ours, but the owner, that may change or remove rows of the log. The keeper may, through one guarded door.
SELECT r.rolname AS name FROM pg_roles r
WHERE r.rolname IN ('tallystick_writer', 'tallystick_reader', 'tallystick_keeper') AND (
    has_table_privilege(r.oid, 'public.audit_logs', 'UPDATE')
    OR (has_table_privilege(r.oid, 'public.audit_logs', 'DELETE') AND r.rolname <> 'tallystick_keeper')
    OR has_table_privilege(r.oid, 'public.audit_logs', 'TRUNCATE'))
ORDER BY 1

-- fences --
-- Tables of organizations whose row-level security is switched off, lacks its policy or has another one besides.
SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attname = CASE WHEN c.relname = 'organizations' THEN 'id' ELSE 'organization_id' END
    AND (NOT c.relrowsecurity OR (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) <> 1
        OR NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own_organization'
            AND pg_get_expr(p.polqual, p.polrelid) LIKE '%current_organization%'))
ORDER BY 1

-- month_is_there --
-- Whether the partition that holds this time exists.
SELECT to_regclass('public.audit_logs_' || to_char($1::timestamptz AT TIME ZONE 'UTC', 'YYYY_MM')) IS NOT NULL

-- oldest_transaction --
-- Seconds since the oldest open transaction began: while it lives, log_head cannot be cleaned.
SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float FROM pg_stat_activity WHERE pid <> pg_backend_pid()

-- size_bytes --
-- What the database occupies.
SELECT pg_database_size(current_database())

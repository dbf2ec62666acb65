-- begin --
-- One moment that both this transaction and a dump can see.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY

-- snapshot --
-- The name under which a dump finds that moment.
SELECT pg_export_snapshot()

-- heads --
-- Where every log stands at that moment, in the order of their organizations.
SELECT organization_id, size, note FROM log_head ORDER BY organization_id

-- size --
-- How many events a log holds; no row before the first.
SELECT h.size FROM log_head h WHERE h.organization_id = $1

-- event --
-- One event by its id; the stamp of its receipt leads to its partition.
SELECT a.position, a.workspace, a.leaf, a.opening
FROM idempotency i JOIN audit_logs a
    ON a.organization_id = $1 AND a.position = i.position AND a.received_at = i.received_at
WHERE i.organization_id = $1 AND i.id = $2

-- months_of --
-- When the months begin that hold positions from $2 up to, not including, $3: the first one and the one after the last.
SELECT
    (SELECT max(m.month) FROM log_months m WHERE m.organization_id = $1 AND m.first_position <= $2) AS received_from,
    (SELECT min(m.month) FROM log_months m WHERE m.organization_id = $1 AND m.first_position >= $3) AS received_to

-- feed --
-- Rows in the order of positions, from $2 up to, not including, $3.
SELECT a.position, a.workspace, a.leaf, a.opening FROM audit_logs a
WHERE a.organization_id = $1 AND a.position >= $2 AND a.position < $3 AND a.received_at >= $4 AND a.received_at < $5
ORDER BY a.position

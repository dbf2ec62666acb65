-- append_events --
-- A whole append in one statement: it happens entirely or not at all.
SELECT appended, known FROM append_events(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25, $26, $27, $28, $29, $30)

-- begin_append --
-- Take the lock of one log and learn where it is, which ids it holds and whether a new subject clashes.
SELECT at_size AS size, at_frontier AS frontier, at_received AS last_received_at, at_note AS note,
    at_epoch AS subject_epoch, known, clash
FROM begin_append($1, $2, $3, $4, $5)

-- finish_append --
-- The rows and everything that goes with them, the head last.
SELECT finish_append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)

-- ensure_month --
-- Make the partition that holds this time, unless it is there.
SELECT ensure_audit_logs_month($1)

-- stored_events --
-- What the log holds under these ids; leaf is null where retention has removed the row.
SELECT i.id, i.position, i.received_at, a.leaf, a.opening, a.seed
FROM idempotency i LEFT JOIN audit_logs a
    ON a.organization_id = i.organization_id AND a.position = i.position AND a.received_at = i.received_at
WHERE i.organization_id = $1 AND i.id = ANY ($2::uuid[])

-- quarantine --
-- Keep what an event broke, beside the event itself.
INSERT INTO quarantine (organization_id, position, action, violations)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::jsonb[])

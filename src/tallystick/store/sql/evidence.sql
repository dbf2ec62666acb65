-- sealed --
-- One event by its id with all that it was sealed from.
SELECT a.position, a.leaf, a.opening, a.seed
FROM idempotency i JOIN audit_logs a
    ON a.organization_id = $1 AND a.position = i.position AND a.received_at = i.received_at
WHERE i.organization_id = $1 AND i.id = $2

-- projects --
-- The workspaces there are, deleted ones too, each with the name of its team.
SELECT w.id, w.display_name AS name, t.display_name AS team, w.deleted_at IS NOT NULL AS deleted
FROM workspaces w LEFT JOIN teams t ON t.organization_id = w.organization_id AND t.id = w.team_id AND t.deleted_at IS NULL
WHERE w.organization_id = $1 ORDER BY w.display_name, w.id LIMIT $2

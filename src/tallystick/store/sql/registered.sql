-- versions --
-- The newest version of each registered action of an organization.
SELECT name, max(version) AS version FROM registered_actions WHERE organization_id = $1 GROUP BY name

-- declaration --
-- One version of one action.
SELECT declaration, created_at FROM registered_actions WHERE organization_id = $1 AND name = $2 AND version = $3

-- newest --
-- The newest version of each action, without its schema.
SELECT DISTINCT ON (name) declaration - 'schema' AS declaration, created_at FROM registered_actions
WHERE organization_id = $1 ORDER BY name, version DESC

-- versions_of --
-- Every version of one action, newest first.
SELECT declaration, created_at FROM registered_actions WHERE organization_id = $1 AND name = $2 ORDER BY version DESC

-- counts --
-- How many actions an organization has registered, and how many versions of this one.
SELECT count(DISTINCT name) AS names, count(*) FILTER (WHERE name = $2) AS versions
FROM registered_actions WHERE organization_id = $1

-- insert --
-- A new version; a version that is there already stays as it is.
INSERT INTO registered_actions (organization_id, name, version, declaration) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

-- quarantined --
-- Events in quarantine in the order of positions, with what the log holds of them; NULL = retention took it.
SELECT q.position, q.action, q.violations, q.released_by, a.leaf, a.opening
FROM quarantine q LEFT JOIN audit_logs a ON a.organization_id = q.organization_id AND a.position = q.position
WHERE q.organization_id = $1 AND q.position > $2
    AND ($3::boolean IS NULL OR (q.released_by IS NOT NULL) = $3)
    AND ($4::text IS NULL OR q.action = $4)
    AND ($5::bigint[] IS NULL OR q.position = ANY ($5))
    AND ($6::text[] IS NULL OR a.workspace = ANY ($6))
ORDER BY q.position LIMIT $7

-- release --
-- Say which event recorded that these fit their schema now; only for those nobody released meanwhile.
UPDATE quarantine SET released_by = $3
WHERE organization_id = $1 AND position = ANY ($2::bigint[]) AND released_by IS NULL

-- find --
-- The key with this hash, whatever its state; the caller decides, so that every refusal takes the same path.
SELECT k.organization_id, k.id, k.name, k.permissions, k.workspace, k.expires_at, k.revoked_at,
    w.archived_at IS NOT NULL AS archived
FROM api_keys k LEFT JOIN workspaces w ON w.organization_id = k.organization_id AND w.id = k.workspace
WHERE k.sha256 = $1

-- find_operator --
-- The operator key with this hash, whatever its state.
SELECT id, name, permissions, expires_at, revoked_at FROM operator_keys WHERE sha256 = $1

-- insert --
-- Keep a new key's hash and what it may do.
INSERT INTO api_keys (organization_id, id, name, prefix, sha256, permissions, workspace, expires_at, created_by, rotated_from)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- insert_operator --
-- Keep a new operator key's hash and what it may do.
INSERT INTO operator_keys (id, name, prefix, sha256, permissions, expires_at) VALUES ($1, $2, $3, $4, $5, $6)

-- get --
-- One key without its hash.
SELECT id, name, prefix, permissions, workspace, created_at, expires_at, revoked_at, created_by, rotated_from
FROM api_keys WHERE organization_id = $1 AND id = $2

-- list_all --
-- Every key of an organization, newest first.
SELECT id, name, prefix, permissions, workspace, created_at, expires_at, revoked_at, last_used_at, last_used_ip, created_by,
    rotated_from
FROM api_keys WHERE organization_id = $1 ORDER BY created_at DESC, id

-- list_operators --
-- Every operator key, newest first.
SELECT id, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at, last_used_ip
FROM operator_keys ORDER BY created_at DESC, id

-- count_live --
-- How many keys of an organization still open something.
SELECT count(*) FROM api_keys
WHERE organization_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)

-- revoke --
-- Revoke a key once; the first time stays.
UPDATE api_keys SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL

-- revoke_operator --
-- Revoke an operator key once.
UPDATE operator_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL

-- retire --
-- A key ends in a while, because another takes its place.
UPDATE api_keys SET expires_at = least(expires_at, $3) WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL

-- has_heir --
-- Whether another key has taken this one's place.
SELECT EXISTS (SELECT FROM api_keys WHERE organization_id = $1 AND rotated_from = $2)

-- touch --
-- Note when and from where a key was last used.
UPDATE api_keys SET last_used_at = $3, last_used_ip = coalesce($4, last_used_ip)
WHERE organization_id = $1 AND id = $2

-- touch_operator --
-- Note when and from where an operator key was last used; it is of no organization.
UPDATE operator_keys SET last_used_at = $3, last_used_ip = coalesce($4, last_used_ip) WHERE $1::uuid IS NOT NULL AND id = $2

-- find --
-- The key with this hash, whatever its state; the caller decides, so that every refusal takes the same path.
SELECT organization_id, id, name, permissions, workspace, expires_at, revoked_at
FROM api_keys WHERE sha256 = $1

-- insert --
-- Keep a new key's hash and what it may do.
INSERT INTO api_keys (organization_id, id, name, prefix, sha256, permissions, workspace, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- list_all --
-- Every key of an organization, newest first.
SELECT id, name, prefix, permissions, workspace, created_at, expires_at, revoked_at, last_used_at, last_used_ip
FROM api_keys WHERE organization_id = $1 ORDER BY created_at DESC, id

-- revoke --
-- Revoke a key once; the first time stays.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE organization_id = $1 AND id = $2

-- touch --
-- Note when and from where a key was last used.
UPDATE api_keys SET last_used_at = $3, last_used_ip = coalesce($4, last_used_ip)
WHERE organization_id = $1 AND id = $2

-- insert --
-- Keep a new token's hash and what it may show.
INSERT INTO viewer_tokens (organization_id, id, name, sha256, permissions, workspaces, filters, origins, columns,
                           created_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)

-- find --
-- The token with this hash, or the one whose session has it, whatever its state; the caller decides. Whoever made it
-- must still hold a good key: with the key end its tokens.
SELECT t.organization_id, t.id, t.name, t.session_sha256, t.permissions, t.workspaces, t.filters, t.origins, t.columns,
       t.created_by, t.created_at, t.expires_at, t.used_at,
       coalesce(t.revoked_at, k.revoked_at, o.revoked_at, CASE WHEN k.expires_at <= now() THEN k.expires_at END,
                CASE WHEN o.expires_at <= now() THEN o.expires_at END) AS revoked_at
FROM viewer_tokens t
LEFT JOIN api_keys k ON k.organization_id = t.organization_id AND k.id = t.created_by
LEFT JOIN operator_keys o ON o.id = t.created_by
WHERE t.sha256 = $1 OR t.session_sha256 = $1

-- exchange --
-- Exchange a token for a session, once: only one caller succeeds.
UPDATE viewer_tokens SET used_at = $3, session_sha256 = $4
WHERE organization_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $3

-- revoke --
-- End a token and its session once; the first time stays. Null for $4 = whoever made it.
UPDATE viewer_tokens SET revoked_at = $3
WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL AND ($4::text IS NULL OR created_by = $4)

-- get --
-- One token, null for $3 = whoever made it.
SELECT organization_id, id, name, session_sha256, permissions, workspaces, filters, origins, columns, created_by,
       created_at, expires_at, used_at, revoked_at
FROM viewer_tokens WHERE organization_id = $1 AND id = $2 AND ($3::text IS NULL OR created_by = $3)

-- list_live --
-- Tokens that are not over yet, newest first, null for $2 = whoever made them.
SELECT organization_id, id, name, session_sha256, permissions, workspaces, filters, origins, columns, created_by,
       created_at, expires_at, used_at, revoked_at
FROM viewer_tokens
WHERE organization_id = $1 AND expires_at > $3 AND ($2::text IS NULL OR created_by = $2)
ORDER BY created_at DESC, id LIMIT 1000

-- live_origins --
-- Every origin that a page may ask from now.
SELECT DISTINCT unnest(origins) FROM viewer_tokens WHERE expires_at > $1 AND revoked_at IS NULL LIMIT 10000

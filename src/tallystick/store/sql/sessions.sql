-- find --
-- The session with this hash and its member as both are now, whatever their state; the caller decides.
SELECT s.organization_id, s.id, s.method, s.access_version AS session_version, s.created_at, s.last_seen_at,
       s.expires_at, s.revoked_at, m.id AS member_id, m.email, m.display_name, m.role, m.active, m.removed_at,
       m.access_version, o.display_name AS organization
FROM sessions s
JOIN members m ON m.organization_id = s.organization_id AND m.id = s.member_id
JOIN organizations o ON o.id = s.organization_id
WHERE s.sha256 = $1

-- insert --
-- Begin a session.
INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, created_at, last_seen_at,
                      expires_at, ip, user_agent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10)

-- retire --
-- End a session in a moment, because another takes its place; only one caller succeeds. Says when it would have ended.
UPDATE sessions s SET access_version = $4, expires_at = least(s.expires_at, $5)
FROM sessions before
WHERE s.organization_id = $1 AND s.id = $2 AND s.access_version = $3 AND s.revoked_at IS NULL
  AND before.organization_id = s.organization_id AND before.id = s.id
RETURNING before.expires_at AS until

-- succeed --
-- Begin the session that takes another's place: the same person and method, the same absolute end.
INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, created_at, last_seen_at,
                      expires_at, ip, user_agent)
SELECT organization_id, $3, $4, member_id, method, access_version, created_at, $5, $6, $7, $8
FROM sessions WHERE organization_id = $1 AND id = $2

-- touch --
-- Note when a session was last used.
UPDATE sessions SET last_seen_at = greatest(last_seen_at, $3) WHERE organization_id = $1 AND id = $2

-- of_member --
-- A member's sessions that are good now, newest first.
SELECT id, method, created_at, last_seen_at, expires_at, ip, user_agent
FROM sessions
WHERE organization_id = $1 AND member_id = $2 AND revoked_at IS NULL AND expires_at > $3 AND last_seen_at > $4
ORDER BY last_seen_at DESC, id LIMIT 200

-- of_organization --
-- Everybody's sessions that are good now, newest first.
SELECT s.id, s.member_id, m.email, m.display_name, s.method, s.created_at, s.last_seen_at, s.expires_at, s.ip, s.user_agent
FROM sessions s JOIN members m ON m.organization_id = s.organization_id AND m.id = s.member_id
WHERE s.organization_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND s.last_seen_at > $3
ORDER BY s.last_seen_at DESC, s.id LIMIT 1000

-- member_of --
-- Whose session it is, good or not.
SELECT member_id FROM sessions WHERE organization_id = $1 AND id = $2

-- revoke --
-- End one session once; the first time stays.
UPDATE sessions SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL

-- revoke_others --
-- End all sessions of a member but one, and say how many there were.
UPDATE sessions SET revoked_at = $3
WHERE organization_id = $1 AND member_id = $2 AND revoked_at IS NULL AND id <> $4

-- grantors --
-- Who can give access: owners, then admins.
SELECT display_name, email FROM members
WHERE organization_id = $1 AND active AND removed_at IS NULL AND role IN ('OWNER', 'ADMIN')
ORDER BY role DESC, display_name LIMIT 5

-- holdings --
-- Every role a member has, by itself or through a group: on the organization (workspace '') or on one workspace.
SELECT h.workspace, h.role, r.permissions
FROM (
    SELECT '' AS workspace, m.role FROM members m WHERE m.organization_id = $1 AND m.id = $2
    UNION
    SELECT w.workspace_id, w.role FROM member_workspaces w WHERE w.organization_id = $1 AND w.member_id = $2
    UNION
    SELECT coalesce(g.workspace_id, ''), g.role
    FROM member_groups mg JOIN groups g ON g.organization_id = mg.organization_id AND g.id = mg.group_id
    WHERE mg.organization_id = $1 AND mg.member_id = $2 AND g.removed_at IS NULL AND g.role IS NOT NULL
) h
LEFT JOIN roles r ON r.organization_id = $1 AND r.id = h.role AND r.deleted_at IS NULL

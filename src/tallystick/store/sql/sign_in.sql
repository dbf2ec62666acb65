-- by_email --
-- Everybody with this e-mail address, one row for each organization, oldest first.
SELECT m.organization_id, m.id, m.email, m.display_name, m.role, m.access_version, m.password_hash, m.totp_secret,
       m.totp_enabled_at, m.totp_last_step, m.recovery_code_hashes, o.display_name AS organization,
       EXISTS (SELECT FROM identity_providers p WHERE p.organization_id = m.organization_id AND p.only_oidc
               AND p.deleted_at IS NULL) AS only_oidc
FROM members m JOIN organizations o ON o.id = m.organization_id
WHERE m.email = $1 AND m.active AND m.removed_at IS NULL
ORDER BY m.created_at, m.organization_id LIMIT 8

-- member --
-- One member with what it signs in with, if it may sign in at all.
SELECT m.organization_id, m.id, m.email, m.display_name, m.role, m.access_version, m.password_hash, m.totp_secret,
       m.totp_enabled_at, m.totp_last_step, m.recovery_code_hashes, o.display_name AS organization,
       EXISTS (SELECT FROM identity_providers p WHERE p.organization_id = m.organization_id AND p.only_oidc
               AND p.deleted_at IS NULL) AS only_oidc
FROM members m JOIN organizations o ON o.id = m.organization_id
WHERE m.organization_id = $1 AND m.id = $2 AND m.active AND m.removed_at IS NULL

-- use_step --
-- Take a code of the second factor: each step is good once, on whichever server.
UPDATE members SET totp_last_step = $3
WHERE organization_id = $1 AND id = $2 AND totp_enabled_at IS NOT NULL AND coalesce(totp_last_step, 0) < $3

-- use_recovery --
-- Take a recovery code: each is good once.
UPDATE members SET recovery_code_hashes = array_remove(recovery_code_hashes, $3)
WHERE organization_id = $1 AND id = $2 AND $3 = ANY (recovery_code_hashes)

-- set_password --
-- Set a member's password.
UPDATE members SET password_hash = $3 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- freshen_password --
-- Keep the same password under another cost, unless it was changed meanwhile.
UPDATE members SET password_hash = $4 WHERE organization_id = $1 AND id = $2 AND password_hash = $3

-- set_name --
-- Set the name a person is shown by.
UPDATE members SET display_name = $3 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- offer_totp --
-- Keep a new secret that is not in force until a code of it was shown.
UPDATE members SET totp_secret = $3, totp_last_step = NULL
WHERE organization_id = $1 AND id = $2 AND totp_enabled_at IS NULL AND removed_at IS NULL

-- enable_totp --
-- Put the offered secret in force.
UPDATE members SET totp_enabled_at = $3, totp_last_step = $4, recovery_code_hashes = $5
WHERE organization_id = $1 AND id = $2 AND totp_enabled_at IS NULL AND totp_secret IS NOT NULL

-- disable_totp --
-- Forget the second factor and its recovery codes.
UPDATE members SET totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = NULL, recovery_code_hashes = '{}'
WHERE organization_id = $1 AND id = $2 AND totp_enabled_at IS NOT NULL

-- set_recovery --
-- Replace the recovery codes.
UPDATE members SET recovery_code_hashes = $3 WHERE organization_id = $1 AND id = $2 AND totp_enabled_at IS NOT NULL

-- has_members --
-- Whether the organization has anybody who can sign in.
SELECT EXISTS (SELECT FROM members WHERE organization_id = $1 AND removed_at IS NULL AND active
               AND (password_hash IS NOT NULL OR oidc_subject IS NOT NULL))

-- insert_first --
-- Make the first owner; the id was fixed when the link was made, so that two uses make one member.
INSERT INTO members (organization_id, id, email, display_name, role, password_hash)
SELECT $1, $2, $3, $4, 'OWNER', $5
WHERE NOT EXISTS (SELECT FROM members WHERE organization_id = $1 AND removed_at IS NULL AND active
                  AND (password_hash IS NOT NULL OR oidc_subject IS NOT NULL))
ON CONFLICT DO NOTHING

-- insert_link --
-- Keep the hash of a link.
INSERT INTO one_time_links (organization_id, sha256, purpose, member_id, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)

-- withdraw_links --
-- Void the unused links of a member, so that the newest is the only one.
UPDATE one_time_links SET used_at = $3 WHERE organization_id = $1 AND member_id = $2 AND used_at IS NULL

-- find_link --
-- The link with this hash, whatever its state.
SELECT l.organization_id, l.purpose, l.member_id, l.expires_at, l.used_at, m.email, m.display_name,
       coalesce(m.active AND m.removed_at IS NULL, l.purpose = 'first-admin') AS open, o.display_name AS organization
FROM one_time_links l
LEFT JOIN members m ON m.organization_id = l.organization_id AND m.id = l.member_id
JOIN organizations o ON o.id = l.organization_id
WHERE l.sha256 = $1

-- use_link --
-- Use a link, which works once.
UPDATE one_time_links SET used_at = $3 WHERE organization_id = $1 AND sha256 = $2 AND used_at IS NULL AND expires_at > $3

-- raise_version --
-- Have every session of a member get a new id at its next page.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND id = $2

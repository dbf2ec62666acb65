-- of_organization --
-- The providers of an organization, oldest first.
SELECT organization_id, id, display_name, issuer, client_id, client_secret, groups_claim, group_roles, only_oidc,
       trust_email, created_at
FROM identity_providers WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY created_at, id LIMIT 20

-- shown --
-- The providers to offer at sign-in when the server has one organization only.
SELECT p.organization_id, p.id, p.display_name, p.issuer, p.client_id, p.client_secret, p.groups_claim, p.group_roles,
       p.only_oidc, p.trust_email, p.created_at
FROM identity_providers p
WHERE p.deleted_at IS NULL AND (SELECT count(*) FROM (SELECT FROM organizations LIMIT 2) few) = 1
ORDER BY p.created_at, p.id LIMIT 20

-- insert --
-- Keep a new provider.
INSERT INTO identity_providers (organization_id, id, display_name, issuer, client_id, client_secret, groups_claim,
                                group_roles, only_oidc, trust_email)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- update --
-- Change a provider; without a new secret the old one stays.
UPDATE identity_providers
SET display_name = $3, issuer = $4, client_id = $5, client_secret = coalesce($6, client_secret), groups_claim = $7,
    group_roles = $8, only_oidc = $9, trust_email = $10
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- remove --
-- Stop trusting a provider; the log names its id for ever.
UPDATE identity_providers SET deleted_at = $3, client_secret = NULL
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- organization --
-- The name of an organization, for the sign-in page of its own.
SELECT display_name FROM organizations WHERE id = $1

-- by_subject --
-- The member a provider knows as this subject.
SELECT id, email, display_name, role, active, removed_at, oidc_issuer, oidc_subject FROM members
WHERE organization_id = $1 AND oidc_issuer = $2 AND oidc_subject = $3 AND removed_at IS NULL

-- by_email --
-- The member with this address.
SELECT id, email, display_name, role, active, removed_at, oidc_issuer, oidc_subject FROM members
WHERE organization_id = $1 AND email = $2 AND removed_at IS NULL

-- link --
-- Note which subject of which provider a member is, unless it is another's already.
UPDATE members SET oidc_issuer = $3, oidc_subject = $4
WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL AND active AND oidc_subject IS NULL

-- admit --
-- Make a member of somebody whom a provider lets in.
INSERT INTO members (organization_id, id, email, display_name, role, oidc_issuer, oidc_subject)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING

-- set_role --
-- Give a member the role its groups say, but never take the last owner's.
UPDATE members m SET role = $3, access_version = access_version + 1
WHERE m.organization_id = $1 AND m.id = $2 AND m.removed_at IS NULL AND m.role <> $3
  AND (m.role <> 'OWNER' OR EXISTS (
      SELECT FROM members o WHERE o.organization_id = $1 AND o.id <> $2 AND o.role = 'OWNER' AND o.active
      AND o.removed_at IS NULL))

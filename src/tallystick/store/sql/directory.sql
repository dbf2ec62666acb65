-- users --
-- Members as a directory sees them, in the order of their making. Null for $2 (id), $3 (user name, folded) or $4
-- (external id) = any.
SELECT m.id, coalesce(m.scim_user_name, m.email) AS user_name, m.scim_external_id AS external_id, m.email, m.display_name,
       m.role, m.active, d.attributes, m.created_at, coalesce(d.updated_at, m.created_at) AS updated_at
FROM members m LEFT JOIN directory_entries d ON d.organization_id = m.organization_id AND d.id = m.id
WHERE m.organization_id = $1 AND m.removed_at IS NULL AND ($2::text IS NULL OR m.id = $2)
    AND ($3::text IS NULL OR coalesce(m.scim_user_name, m.email) = $3)
    AND ($4::text IS NULL OR m.scim_external_id = $4)
ORDER BY m.created_at, m.id OFFSET $5 LIMIT $6

-- user_count --
-- How many there are.
SELECT count(*) FROM members m
WHERE m.organization_id = $1 AND m.removed_at IS NULL AND ($2::text IS NULL OR m.id = $2)
    AND ($3::text IS NULL OR coalesce(m.scim_user_name, m.email) = $3)
    AND ($4::text IS NULL OR m.scim_external_id = $4)

-- groups_of --
-- The groups of some members.
SELECT mg.member_id AS id, g.id AS other, g.display_name
FROM member_groups mg JOIN groups g ON g.organization_id = mg.organization_id AND g.id = mg.group_id
WHERE mg.organization_id = $1 AND mg.member_id = ANY ($2) AND g.removed_at IS NULL ORDER BY g.display_name, g.id

-- clashes --
-- How many other members have one of these names: as user name or as address.
SELECT count(*) FROM members
WHERE organization_id = $1 AND id <> $2 AND removed_at IS NULL AND (email = $4 OR coalesce(scim_user_name, email) = $3)

-- insert_user --
-- Somebody new, as a directory says.
INSERT INTO members (organization_id, id, email, display_name, role, active, scim_external_id, scim_user_name, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- update_user --
-- A member as a directory says; whoever may sign in or not from now on is asked anew.
UPDATE members SET email = $3, display_name = $4, active = $5, scim_external_id = $6, scim_user_name = $7,
    access_version = access_version + (active <> $5)::int
WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- keep_entry --
-- What a directory says of a member or group beyond its row.
INSERT INTO directory_entries (organization_id, id, attributes, updated_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, id) DO UPDATE SET attributes = excluded.attributes, updated_at = excluded.updated_at

-- drop_entry --
-- Nothing of it is kept.
DELETE FROM directory_entries WHERE organization_id = $1 AND id = $2

-- groups --
-- Groups in the order of their making. Null for $2 (id), $3 (name, folded) or $4 (external id) = any.
SELECT g.id, g.display_name, g.external_id, g.role, g.workspace_id, g.created_at,
       coalesce(d.updated_at, g.created_at) AS updated_at
FROM groups g LEFT JOIN directory_entries d ON d.organization_id = g.organization_id AND d.id = g.id
WHERE g.organization_id = $1 AND g.removed_at IS NULL AND ($2::text IS NULL OR g.id = $2)
    AND ($3::text IS NULL OR lower(g.display_name) = $3) AND ($4::text IS NULL OR g.external_id = $4)
ORDER BY g.created_at, g.id OFFSET $5 LIMIT $6

-- group_count --
-- How many there are.
SELECT count(*) FROM groups g
WHERE g.organization_id = $1 AND g.removed_at IS NULL AND ($2::text IS NULL OR g.id = $2)
    AND ($3::text IS NULL OR lower(g.display_name) = $3) AND ($4::text IS NULL OR g.external_id = $4)

-- members_of --
-- Who is in some groups.
SELECT mg.group_id AS id, m.id AS other, m.display_name
FROM member_groups mg JOIN members m ON m.organization_id = mg.organization_id AND m.id = mg.member_id
WHERE mg.organization_id = $1 AND mg.group_id = ANY ($2) AND m.removed_at IS NULL ORDER BY m.id

-- known_members --
-- How many of these are members.
SELECT count(*) FROM members WHERE organization_id = $1 AND id = ANY ($2) AND removed_at IS NULL

-- insert_group --
-- A new group, which gives no role yet.
INSERT INTO groups (organization_id, id, display_name, external_id, created_at) VALUES ($1, $2, $3, $4, $5)

-- update_group --
-- A group as a directory says.
UPDATE groups SET display_name = $3, external_id = $4 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- map_group --
-- What role a group gives from now on, if it gave the one it was seen with.
UPDATE groups SET role = $3, workspace_id = $4
WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL
    AND role IS NOT DISTINCT FROM $5 AND workspace_id IS NOT DISTINCT FROM $6

-- remove_group --
-- A group is gone, and with it what it gave.
UPDATE groups SET removed_at = $3 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- join_group --
-- Some members are in a group from now on.
INSERT INTO member_groups (organization_id, group_id, member_id) SELECT $1, $2, unnest($3::text[]) ON CONFLICT DO NOTHING

-- leave_group --
-- Some members are in a group no more.
DELETE FROM member_groups WHERE organization_id = $1 AND group_id = $2 AND member_id = ANY ($3)

-- touch_members --
-- Some members may do something else from now on.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND id = ANY ($2) AND removed_at IS NULL

-- touch_group --
-- Everybody in a group may do something else from now on.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND removed_at IS NULL
    AND id IN (SELECT member_id FROM member_groups WHERE organization_id = $1 AND group_id = $2)

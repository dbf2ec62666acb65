-- teams --
-- The teams of an organization by name.
SELECT id, display_name, created_at FROM teams WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY display_name, id

-- team --
-- One team that is not deleted.
SELECT id, display_name, created_at FROM teams WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- team_count --
-- How many teams there ever were.
SELECT count(*) FROM teams WHERE organization_id = $1

-- insert_team --
-- A new team.
INSERT INTO teams (organization_id, id, display_name, created_at) VALUES ($1, $2, $3, $4)

-- rename_team --
-- Another name for a team, if it has the one it was seen with.
UPDATE teams SET display_name = $3 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL AND display_name = $4

-- delete_team --
-- A team is gone; its workspaces stay.
UPDATE teams SET deleted_at = $3 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- leave_team --
-- No workspace is of this team any more.
UPDATE workspaces SET team_id = NULL WHERE organization_id = $1 AND team_id = $2

-- workspaces --
-- The workspaces of an organization by name; deleted ones too when $2.
SELECT id, team_id, display_name, created_at, archived_at, deleted_at FROM workspaces
WHERE organization_id = $1 AND ($2 OR deleted_at IS NULL) ORDER BY display_name, id

-- workspace --
-- One workspace, whatever its state.
SELECT id, team_id, display_name, created_at, archived_at, deleted_at FROM workspaces WHERE organization_id = $1 AND id = $2

-- workspace_count --
-- How many workspaces there ever were.
SELECT count(*) FROM workspaces WHERE organization_id = $1

-- insert_workspace --
-- A new workspace; an id is given once.
INSERT INTO workspaces (organization_id, id, team_id, display_name, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

-- update_workspace --
-- Another name, team or state of a workspace, if it is as it was seen.
UPDATE workspaces SET display_name = $3, team_id = $4, archived_at = $5
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
    AND display_name = $6 AND team_id IS NOT DISTINCT FROM $7 AND archived_at IS NOT DISTINCT FROM $8

-- delete_workspace --
-- A workspace is gone; its events stay.
UPDATE workspaces SET deleted_at = $3 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- revoke_keys_of_workspace --
-- Keys bound to a workspace that is gone open nothing any more.
UPDATE api_keys SET revoked_at = $3 WHERE organization_id = $1 AND workspace = $2 AND revoked_at IS NULL

-- leave_workspace --
-- Nobody has a role in this workspace any more.
DELETE FROM member_workspaces WHERE organization_id = $1 AND workspace_id = $2

-- groups_leave_workspace --
-- No group gives a role in this workspace any more.
UPDATE groups SET role = NULL, workspace_id = NULL WHERE organization_id = $1 AND workspace_id = $2

-- touch_workspace_members --
-- Everybody with a role in this workspace may do something else now, by itself or through a group.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND removed_at IS NULL AND (
    id IN (SELECT member_id FROM member_workspaces WHERE organization_id = $1 AND workspace_id = $2)
    OR id IN (SELECT mg.member_id FROM member_groups mg JOIN groups g
        ON g.organization_id = mg.organization_id AND g.id = mg.group_id
        WHERE mg.organization_id = $1 AND g.workspace_id = $2))

-- members --
-- The people of an organization by address, with their roles in workspaces.
SELECT m.id, m.email, m.display_name, m.role, m.active, m.created_at,
    m.password_hash IS NULL AND m.oidc_subject IS NULL AS invited, m.totp_enabled_at IS NOT NULL AS second_factor,
    coalesce(w.workspaces, '{}') AS workspaces, coalesce(w.roles, '{}') AS workspace_roles
FROM members m LEFT JOIN (
    SELECT member_id, array_agg(workspace_id ORDER BY workspace_id) AS workspaces,
        array_agg(role ORDER BY workspace_id) AS roles
    FROM member_workspaces WHERE organization_id = $1 GROUP BY member_id
) w ON w.member_id = m.id
WHERE m.organization_id = $1 AND m.removed_at IS NULL AND ($2::text IS NULL OR m.id > $2) ORDER BY m.id LIMIT $3

-- member --
-- One member who was not removed.
SELECT m.id, m.email, m.display_name, m.role, m.active, m.created_at,
    m.password_hash IS NULL AND m.oidc_subject IS NULL AS invited, m.totp_enabled_at IS NOT NULL AS second_factor,
    ARRAY(SELECT workspace_id FROM member_workspaces w WHERE w.organization_id = $1 AND w.member_id = m.id
        ORDER BY workspace_id) AS workspaces,
    ARRAY(SELECT w.role FROM member_workspaces w WHERE w.organization_id = $1 AND w.member_id = m.id
        ORDER BY workspace_id) AS workspace_roles
FROM members m WHERE m.organization_id = $1 AND m.id = $2 AND m.removed_at IS NULL

-- member_count --
-- How many people an organization has.
SELECT count(*) FROM members WHERE organization_id = $1 AND removed_at IS NULL

-- owners --
-- How many people may do everything and can sign in; who was only invited cannot yet.
SELECT count(*) FROM members WHERE organization_id = $1 AND removed_at IS NULL AND active AND role = 'OWNER'
    AND (password_hash IS NOT NULL OR oidc_subject IS NOT NULL)

-- insert_member --
-- Somebody new, unless the address is taken.
INSERT INTO members (organization_id, id, email, display_name, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- update_member --
-- Another role, name or state of a member, if it is as it was seen.
UPDATE members SET role = $3, display_name = $4, active = $5, access_version = access_version + 1
WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL AND role = $6 AND display_name = $7 AND active = $8

-- remove_member --
-- Somebody leaves; what was done under this id stays done under it.
UPDATE members SET removed_at = $3, active = false, access_version = access_version + 1, password_hash = NULL,
    totp_secret = NULL, totp_enabled_at = NULL, recovery_code_hashes = '{}'
WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- leave_workspaces --
-- A member has no role in any workspace any more.
DELETE FROM member_workspaces WHERE organization_id = $1 AND member_id = $2

-- leave_groups --
-- A member is in no group any more.
DELETE FROM member_groups WHERE organization_id = $1 AND member_id = $2

-- end_sessions --
-- Whoever was signed in as this member is no more.
UPDATE sessions SET revoked_at = $3 WHERE organization_id = $1 AND member_id = $2 AND revoked_at IS NULL

-- void_links --
-- No link of this member works any more.
UPDATE one_time_links SET used_at = $3 WHERE organization_id = $1 AND member_id = $2 AND used_at IS NULL

-- workspace_role --
-- What a member is in one workspace by itself.
SELECT role FROM member_workspaces WHERE organization_id = $1 AND member_id = $2 AND workspace_id = $3

-- set_workspace_role --
-- What a member is in one workspace from now on.
INSERT INTO member_workspaces (organization_id, member_id, workspace_id, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, member_id, workspace_id) DO UPDATE SET role = excluded.role

-- remove_workspace_role --
-- A member is nothing in this workspace any more.
DELETE FROM member_workspaces WHERE organization_id = $1 AND member_id = $2 AND workspace_id = $3

-- touch_member --
-- A member may do something else from now on.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL

-- roles --
-- An organization's own roles by name.
SELECT id, name, permissions, created_at FROM roles WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY name, id

-- role --
-- One of an organization's own roles, by id or name.
SELECT id, name, permissions, created_at FROM roles
WHERE organization_id = $1 AND deleted_at IS NULL AND (id = $2 OR lower(name) = lower($2)) ORDER BY id = $2 DESC LIMIT 1

-- role_count --
-- How many own roles an organization has.
SELECT count(*) FROM roles WHERE organization_id = $1 AND deleted_at IS NULL

-- insert_role --
-- A new role, unless its name is taken.
INSERT INTO roles (organization_id, id, name, permissions, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING

-- update_role --
-- Another name or other permissions of a role, if it is as it was seen.
UPDATE roles SET name = $3, permissions = $4
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL AND name = $5 AND permissions = $6

-- role_name_taken --
-- How many other roles have this name.
SELECT count(*) FROM roles WHERE organization_id = $1 AND deleted_at IS NULL AND lower(name) = lower($3) AND id <> $2

-- delete_role --
-- A role is gone.
UPDATE roles SET deleted_at = $3 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- holders --
-- How many people, roles in workspaces and groups have this role.
SELECT (SELECT count(*) FROM members WHERE organization_id = $1 AND removed_at IS NULL AND role = $2)
    + (SELECT count(*) FROM member_workspaces WHERE organization_id = $1 AND role = $2)
    + (SELECT count(*) FROM groups WHERE organization_id = $1 AND removed_at IS NULL AND role = $2)

-- touch_holders --
-- Everybody with this role may do something else now, by itself, in a workspace or through a group.
UPDATE members SET access_version = access_version + 1 WHERE organization_id = $1 AND removed_at IS NULL AND (
    role = $2 OR id IN (SELECT member_id FROM member_workspaces WHERE organization_id = $1 AND role = $2)
    OR id IN (SELECT mg.member_id FROM member_groups mg JOIN groups g
        ON g.organization_id = mg.organization_id AND g.id = mg.group_id
        WHERE mg.organization_id = $1 AND g.role = $2))

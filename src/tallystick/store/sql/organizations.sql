-- first --
-- The organization that was made first: the one a fresh server works for.
SELECT id, display_name, config FROM organizations ORDER BY created_at, id LIMIT 1

-- get --
-- One organization.
SELECT id, display_name, config, created_at FROM organizations WHERE id = $1

-- list_all --
-- All organizations, oldest first.
SELECT id, display_name, config, created_at FROM organizations ORDER BY created_at, id

-- insert --
-- A new organization; a second attempt with the same id changes nothing.
INSERT INTO organizations (id, display_name, config) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING

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
-- A new organization.
INSERT INTO organizations (id, display_name, config) VALUES ($1, $2, $3)

-- name_instance --
-- Keep the installation's name unless one is kept already, and return the one that is.
WITH made AS (
    INSERT INTO instance (name) VALUES ($1) ON CONFLICT (only_one) DO NOTHING RETURNING name
)
SELECT name FROM made UNION ALL SELECT name FROM instance LIMIT 1

-- instance_name --
-- The installation's name.
SELECT name FROM instance

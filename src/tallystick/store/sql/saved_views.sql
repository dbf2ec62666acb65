-- list --
-- The views somebody may open: their own and the shared ones, by name; and which of them opens first for them.
SELECT v.id, v.owner_id, v.name, v.address, v.shared, v.created_at
FROM saved_views v WHERE v.organization_id = $1 AND (v.owner_id = $2 OR v.shared) ORDER BY lower(v.name), v.id LIMIT $3

-- default --
-- The view that opens first for somebody; built-in ones are named by their own words.
SELECT d.view_id FROM default_views d WHERE d.organization_id = $1 AND d.owner_id = $2

-- count --
-- How many views somebody keeps.
SELECT count(*) FROM saved_views v WHERE v.organization_id = $1 AND v.owner_id = $2

-- insert --
-- Keep a new view.
INSERT INTO saved_views (organization_id, id, owner_id, name, address, shared, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- delete --
-- Forget a view of its owner, or a shared one when $4.
DELETE FROM saved_views WHERE organization_id = $1 AND id = $2 AND (owner_id = $3 OR ($4 AND shared))
RETURNING name, address, shared

-- set_default --
-- Choose the view that opens first.
INSERT INTO default_views (organization_id, owner_id, view_id) VALUES ($1, $2, $3)
ON CONFLICT (organization_id, owner_id) DO UPDATE SET view_id = excluded.view_id

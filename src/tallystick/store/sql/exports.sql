-- insert --
-- A new export that waits for a server.
INSERT INTO exports (organization_id, id, format, filter, owner_id, owner_name, created_at, state, seen_at, total)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $7, $8)

-- open --
-- How many exports of one owner wait or run.
SELECT count(*) FROM exports WHERE organization_id = $1 AND owner_id = $2 AND state IN ('waiting', 'running')

-- list --
-- The newest exports of an organization; of one owner where $2 is given.
SELECT id, format, filter, owner_id, owner_name, created_at, state, seen_at, total, events, bytes, sha256, checkpoint,
    finished_at, failure
FROM exports WHERE organization_id = $1 AND ($2::text IS NULL OR owner_id = $2) ORDER BY created_at DESC, id LIMIT $3

-- get --
-- One export.
SELECT id, format, filter, owner_id, owner_name, created_at, state, seen_at, total, events, bytes, sha256, checkpoint,
    finished_at, failure
FROM exports WHERE organization_id = $1 AND id = $2

-- take --
-- The oldest export that waits, or whose server gave no sign since $2, now worked on; of all organizations.
UPDATE exports SET state = 'running', seen_at = $1, events = 0, bytes = 0
WHERE (organization_id, id) = (
    SELECT organization_id, id FROM exports WHERE state = 'waiting' OR (state = 'running' AND seen_at < $2)
    ORDER BY seen_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING organization_id, id, format, filter, owner_id, owner_name, total

-- progress --
-- How far an export is; nothing when it was cancelled or taken by another server since.
UPDATE exports SET events = $3, bytes = $4, seen_at = $5, checkpoint = coalesce($6, checkpoint)
WHERE organization_id = $1 AND id = $2 AND state = 'running' AND seen_at = $7

-- finish --
-- An export came to its end, whichever; nothing when it was cancelled or taken by another server since.
UPDATE exports SET state = $3, events = $4, bytes = $5, sha256 = $6, finished_at = $7, failure = $8
WHERE organization_id = $1 AND id = $2 AND state = 'running' AND seen_at = $9

-- cancel --
-- Nobody goes on with an export.
UPDATE exports SET state = 'cancelled', finished_at = $3
WHERE organization_id = $1 AND id = $2 AND state IN ('waiting', 'running')

-- expire --
-- Exports finished before $1 are no longer kept; of all organizations.
UPDATE exports SET state = 'expired' WHERE state = 'done' AND finished_at < $1 RETURNING organization_id, id, format

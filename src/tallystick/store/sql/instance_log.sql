-- make_head --
-- The one row of the head, at the first use.
INSERT INTO instance_log_head DEFAULT VALUES ON CONFLICT DO NOTHING

-- lock_head --
-- Where the instance log stands, for whoever appends.
SELECT size, frontier, note, note_at, grown_at FROM instance_log_head FOR UPDATE

-- head --
-- Where the instance log stands.
SELECT size, frontier, note, note_at, grown_at FROM instance_log_head

-- changed --
-- Checkpoints of organizations that are not the last leaf of theirs, those first that were never a leaf. The clock's
-- signature stands behind the log's own, so that a checkpoint that was only signed again begins with its leaf.
SELECT h.organization_id, h.size, h.note, l.leaf, l.size AS leaf_size FROM log_head h
LEFT JOIN LATERAL (
    SELECT i.leaf, i.size, i.appended_at FROM instance_log_leaves i WHERE i.organization_id = h.organization_id
    ORDER BY i.position DESC LIMIT 1) AS l ON true
WHERE h.note <> '' AND (l.leaf IS NULL OR l.size <> h.size OR NOT starts_with(h.note, convert_from(l.leaf, 'UTF8')))
ORDER BY l.appended_at NULLS FIRST, h.organization_id LIMIT $1

-- insert_leaves --
-- New leaves, next to each other.
INSERT INTO instance_log_leaves (position, organization_id, size, leaf_hash, leaf, appended_at)
SELECT $1 + u.n - 1, u.organization_id, u.size, u.leaf_hash, u.leaf, $6
FROM unnest($2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[]) WITH ORDINALITY
    AS u (organization_id, size, leaf_hash, leaf, n)

-- insert_tiles --
-- Tiles that became full.
INSERT INTO instance_log_tiles (level, index, hashes) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])

-- move_head --
-- The head after an append, or after signing anew.
UPDATE instance_log_head SET size = $2, frontier = $3, note = $4, note_at = $5, grown_at = $6 WHERE size = $1

-- leaf_hashes --
-- Leaf hashes of positions $1 to $2 in order.
SELECT position, leaf_hash FROM instance_log_leaves WHERE position >= $1 AND position < $2 ORDER BY position

-- leaves --
-- Leaves of positions $1 to $2 in order.
SELECT position, leaf FROM instance_log_leaves WHERE position >= $1 AND position < $2 ORDER BY position

-- tiles --
-- Full tiles by level and index.
SELECT t.level, t.index, t.hashes FROM unnest($1::smallint[], $2::bigint[]) AS n (level, index)
JOIN instance_log_tiles t ON t.level = n.level AND t.index = n.index

-- newest_leaf --
-- The newest leaf of one organization at a position before $2 whose log was not larger than $3.
SELECT position, size, leaf FROM instance_log_leaves
WHERE organization_id = $1 AND position < $2 AND size <= $3 ORDER BY position DESC LIMIT 1

-- keep_checkpoint --
-- Keep a checkpoint of the instance log that somebody outside has.
INSERT INTO instance_log_checkpoints (size, note, signed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- kept_checkpoints --
-- Kept checkpoints of the instance log, newest first.
SELECT size, note, signed_at FROM instance_log_checkpoints ORDER BY size DESC LIMIT $1

-- kept_checkpoint --
-- The kept checkpoint of one size.
SELECT size, note, signed_at FROM instance_log_checkpoints WHERE size = $1

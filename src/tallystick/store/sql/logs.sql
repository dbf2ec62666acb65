-- head --
-- Where one log stands.
SELECT size, frontier, last_received_at, note, note_at, subject_epoch FROM log_head WHERE organization_id = $1

-- heads --
-- Where every log stands.
SELECT organization_id, size, note, note_at FROM log_head ORDER BY organization_id

-- quiet_logs --
-- The logs whose last checkpoint was signed before a moment; organizations without a log are quiet too.
SELECT o.id AS organization_id FROM organizations o LEFT JOIN log_head h ON h.organization_id = o.id
WHERE h.note_at IS NULL OR h.note_at < $1 ORDER BY h.note_at NULLS FIRST, o.id LIMIT $2

-- kept_at --
-- When the newest retained checkpoint of one log was signed.
SELECT signed_at FROM log_checkpoints WHERE organization_id = $1 ORDER BY size DESC, signed_at DESC LIMIT 1

-- leaf_hashes --
-- Leaf hashes of positions $2 to $3 in order; the months say which partitions can hold them.
SELECT position, leaf_hash FROM audit_logs
WHERE organization_id = $1 AND position >= $2 AND position < $3
    AND received_at >= coalesce(
        (SELECT max(month) FROM log_months WHERE organization_id = $1 AND first_position <= $2), '-infinity')
    AND received_at < coalesce(
        (SELECT min(month) FROM log_months WHERE organization_id = $1 AND first_position >= $3), 'infinity')
ORDER BY position

-- has_rows_beyond --
-- Whether a log has rows after its end, which an honest log never has.
SELECT EXISTS (
    SELECT FROM audit_logs WHERE organization_id = $1 AND position >= $2
        AND received_at >= coalesce(
            (SELECT max(month) FROM log_months WHERE organization_id = $1 AND first_position <= $2), '-infinity'))

-- tiles --
-- Full tiles by level and index.
SELECT t.level, t.index, t.hashes FROM unnest($2::smallint[], $3::bigint[]) AS n (level, index)
JOIN log_tiles t ON t.organization_id = $1 AND t.level = n.level AND t.index = n.index

-- checkpoints --
-- Retained checkpoints of one log, newest first, before a size.
SELECT size, signed_at, note FROM log_checkpoints
WHERE organization_id = $1 AND size < $2 ORDER BY size DESC, signed_at DESC LIMIT $3

-- growth --
-- How large a log of $2 events was when: $3 sizes and the last one, each with the first checkpoint that reached it.
SELECT DISTINCT c.size, c.signed_at FROM generate_series(0, $3::bigint) AS n, LATERAL (
    SELECT k.size, k.signed_at FROM log_checkpoints k WHERE k.organization_id = $1 AND k.size >= $2::bigint * n / $3
    ORDER BY k.size, k.signed_at LIMIT 1) AS c
ORDER BY c.signed_at, c.size

-- head --
-- Where one log stands.
SELECT size, frontier, last_received_at, note FROM log_head WHERE organization_id = $1

-- checkpoints --
-- Every retained checkpoint of one log.
SELECT size, note FROM log_checkpoints WHERE organization_id = $1 ORDER BY size, signed_at

-- months --
-- Where each month begins.
SELECT month, first_position FROM log_months WHERE organization_id = $1

-- terms --
-- The dictionaries with their counts.
SELECT kind, value, events FROM terms WHERE organization_id = $1

-- hours --
-- Events by hour and outcome.
SELECT c.hour, o.outcome, o.events FROM event_counts c, LATERAL (VALUES ('success', c.success),
    ('failure', c.failure), ('denied', c.denied), ('unknown', c.unknown)) AS o (outcome, events)
WHERE c.organization_id = $1 AND o.events <> 0

-- subjects --
-- The subject directory.
SELECT ref, type, id FROM subjects WHERE organization_id = $1

-- labels --
-- What subjects can be found by.
SELECT ref, label FROM subject_labels WHERE organization_id = $1

-- removals --
-- How many removals there have been.
SELECT count(*) FROM removals WHERE organization_id = $1

-- rows --
-- Rows of positions $2 up to, not including, $3, with all their columns: as many as fit into $4 bytes, at least one
-- position. Every partition is read, whatever log_months says, and repeated positions come together.
SELECT c.position, c.received_at, c.occurred_at, c.id, c.actor_ref, c.actor_type, c.action, c.verb, c.outcome,
    c.stream, c.workspace, c.target_type, c.target_id, c.more_targets, c.ip, c.request_id, c.leaf_hash, c.seed, c.leaf,
    c.opening, c.last_position
FROM (
    SELECT a.*, sum(octet_length(a.leaf) + octet_length(a.opening)) OVER w AS bytes, rank() OVER w AS place,
        max(a.position) OVER () AS last_position
    FROM audit_logs a WHERE a.organization_id = $1 AND a.position >= $2 AND a.position < $3
    WINDOW w AS (ORDER BY a.position)
) c WHERE c.bytes <= $4 OR c.place = 1 ORDER BY c.position

-- beyond --
-- How many rows lie outside their log, after its end or before its beginning, seen together with the head.
SELECT count(*) FROM audit_logs a
WHERE a.organization_id = $1 AND (a.position < 0 OR a.position >= coalesce(
    (SELECT h.size FROM log_head h WHERE h.organization_id = $1), 0))

-- ids --
-- The table of ids in order of id, beyond $2, and the size of the log in the same snapshot.
SELECT i.id, i.position, i.received_at, coalesce(
    (SELECT h.size FROM log_head h WHERE h.organization_id = $1), 0) AS size
FROM idempotency i WHERE i.organization_id = $1 AND ($2::uuid IS NULL OR i.id > $2) ORDER BY i.id LIMIT $3

-- tiles --
-- Tiles in order beyond ($2, $3), and the size of the log in the same snapshot.
SELECT t.level, t.index, t.hashes, coalesce(
    (SELECT h.size FROM log_head h WHERE h.organization_id = $1), 0) AS size
FROM log_tiles t WHERE t.organization_id = $1 AND (t.level, t.index) > ($2, $3) ORDER BY t.level, t.index LIMIT $4

-- organizations --
-- Every organization that anything is stored of.
SELECT id FROM organizations UNION SELECT organization_id FROM log_head ORDER BY 1

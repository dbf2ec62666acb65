-- Parameters are named, `:name`; store/statement.py numbers them. `{matching}` and `{in_time}` are those of search.sql.

-- with_credential --
-- A person acted with one of these credentials. A leaf is canonical JSON, so a credential stands in it in one spelling
-- only, and no value can imitate its unescaped quotes.
a.actor_type = 'user' AND (
    SELECT true FROM unnest(:credentials::bytea[]) AS c (text) WHERE position(c.text IN a.leaf) > 0 LIMIT 1)

-- walk_newest --
-- Walk from the newest backwards and keep what matches and was done with a credential asked for.
SELECT a.position, a.occurred_at, a.leaf, a.opening FROM audit_logs a
WHERE a.organization_id = :organization AND {in_time}
    AND (a.occurred_at, a.position) < (:place_at, :place_position) AND {with_credential} AND {matching}
ORDER BY a.occurred_at DESC, a.position DESC LIMIT :wanted

-- walk_oldest --
-- The same from the oldest forwards.
SELECT a.position, a.occurred_at, a.leaf, a.opening FROM audit_logs a
WHERE a.organization_id = :organization AND {in_time}
    AND (a.occurred_at, a.position) > (:place_at, :place_position) AND {with_credential} AND {matching}
ORDER BY a.occurred_at, a.position LIMIT :wanted

-- subjects_with --
-- The actors of the log that have one of these ids, whatever their type.
SELECT s.type, s.id FROM subjects s
WHERE s.organization_id = :organization AND s.type = ANY (:types::text[]) AND s.id = ANY (:ids::text[])

-- place_of --
-- Where one event stands in the order of time, and what it is: that decides who may know.
SELECT a.occurred_at, a.position, a.workspace, a.leaf, a.opening
FROM idempotency i JOIN audit_logs a
    ON a.organization_id = i.organization_id AND a.position = i.position AND a.received_at = i.received_at
WHERE i.organization_id = :organization AND i.id = :id

-- within_time --
-- Events of a stretch of time in the order of their ids, beyond one id; a stretch is one millisecond.
SELECT a.id, a.position, a.occurred_at, a.leaf, a.opening FROM audit_logs a
WHERE a.organization_id = :organization AND a.occurred_at >= :since AND a.occurred_at < :until
    AND (:beyond::uuid IS NULL OR a.id > :beyond) AND (:workspaces::text[] IS NULL OR a.workspace = ANY (:workspaces))
ORDER BY a.id LIMIT :wanted

-- from_time --
-- Events from a time on, oldest first.
SELECT a.id, a.position, a.occurred_at, a.leaf, a.opening FROM audit_logs a
WHERE a.organization_id = :organization AND a.occurred_at >= :since
    AND (:workspaces::text[] IS NULL OR a.workspace = ANY (:workspaces))
ORDER BY a.occurred_at, a.position LIMIT :wanted

-- subjects_known_as --
-- The actors with an id that were seen under exactly one of these labels, which are in lower case.
SELECT DISTINCT s.type, s.id FROM unnest(:labels::text[], :trigrams::text[]) AS w (label, trigrams)
JOIN subject_label_candidates l ON l.trigrams @> w.trigrams::int[] AND l.label = w.label
    AND (l.organization_id = :organization) IS TRUE
JOIN subjects s ON s.organization_id = :organization AND s.ref = l.ref AND s.id <> ''

-- values_of --
-- Every value of one kind in a log, each once; one more than :most says that there are too many.
SELECT t.value FROM terms t WHERE t.organization_id = :organization AND t.kind = :kind LIMIT :most + 1

-- behind --
-- Logs that hold events which were not looked at yet: whose, how far they were read, and their size.
SELECT h.organization_id, coalesce(c.position, 0) AS position, h.size
FROM log_head h LEFT JOIN producer_cursors c USING (organization_id)
WHERE h.size > coalesce(c.position, 0) ORDER BY h.organization_id LIMIT $1

-- begin_cursor --
-- A log that was never looked at is read from its beginning.
INSERT INTO producer_cursors (organization_id) VALUES ($1) ON CONFLICT DO NOTHING

-- lock_cursor --
-- How far a log was read, for whoever goes on; no row while another server does.
SELECT position FROM producer_cursors WHERE organization_id = $1 FOR UPDATE SKIP LOCKED

-- move_cursor --
-- A log was read up to here.
UPDATE producer_cursors SET position = $2 WHERE organization_id = $1

-- size --
-- How many events a log holds.
SELECT h.size FROM log_head h WHERE h.organization_id = $1

-- numbered --
-- The events of a stretch that have a number: `"producer":{` stands in a leaf only as that key, as quotes in text are escaped.
SELECT a.position, a.received_at, a.leaf FROM audit_logs a
WHERE a.organization_id = $1 AND a.position >= $2 AND a.position < $3 AND a.received_at >= $4 AND a.received_at < $5
    AND position('\x2270726f6475636572223a7b'::bytea IN a.leaf) > 0
ORDER BY a.position

-- known --
-- Which of these producers are known, and how many there are altogether.
SELECT coalesce(array_agg(p.id) FILTER (WHERE p.id = ANY ($2)), '{}') AS known, count(*) AS total
FROM producers p WHERE p.organization_id = $1

-- epochs_of --
-- The accounts of these epochs, as far as there are any.
SELECT e.producer, e.epoch, e.last_event_at, e.highest, e.events, e.conflicts, e.missing::text, e.unsent::text, e.unlisted,
    e.floor, e.suspected::text, e.suspected_at, e.reported::text, e.conflicts_reported
FROM producer_epochs e JOIN unnest($2::text[], $3::text[]) AS n (producer, epoch) USING (producer, epoch)
WHERE e.organization_id = $1

-- put_epoch --
-- Keep the account of an epoch.
INSERT INTO producer_epochs (organization_id, producer, epoch, last_event_at, highest, events, conflicts, missing, unsent,
    unlisted, floor)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::int8multirange, $9::text::int8multirange, $10, $11)
ON CONFLICT (organization_id, producer, epoch) DO UPDATE SET
    last_event_at = greatest(producer_epochs.last_event_at, excluded.last_event_at), highest = excluded.highest,
    events = excluded.events, conflicts = excluded.conflicts, missing = excluded.missing, unsent = excluded.unsent,
    unlisted = excluded.unlisted, floor = excluded.floor

-- put_producer --
-- Note the newest numbered event of a producer.
INSERT INTO producers (organization_id, id, first_seen_at, last_event_at, last_position) VALUES ($1, $2, $3, $3, $4)
ON CONFLICT (organization_id, id) DO UPDATE SET last_event_at = excluded.last_event_at, last_position = excluded.last_position

-- forget_epochs --
-- Of a producer with very many epochs the oldest are forgotten, unless something of them is missing.
DELETE FROM producer_epochs e WHERE e.organization_id = $1 AND e.producer = $2 AND isempty(e.missing) AND isempty(e.reported)
    AND e.epoch IN (SELECT o.epoch FROM producer_epochs o WHERE o.organization_id = $1 AND o.producer = $2
        ORDER BY o.last_event_at DESC, o.epoch OFFSET $3)

-- beat --
-- Note a sign of life and what it said.
INSERT INTO producers (organization_id, id, first_seen_at, beat_at, beat_epoch, beat_last, beat_waiting, interval_seconds)
VALUES ($1, $2, $3, $3, $4, $5, $6, $7)
ON CONFLICT (organization_id, id) DO UPDATE SET beat_at = excluded.beat_at, beat_epoch = excluded.beat_epoch,
    beat_last = excluded.beat_last, beat_waiting = excluded.beat_waiting, interval_seconds = excluded.interval_seconds

-- claims --
-- Signs of life that say more numbers were given out, and sent, than are accounted for.
SELECT p.id, p.beat_epoch AS epoch, coalesce(p.beat_waiting - 1, p.beat_last) AS last, p.beat_at
FROM producers p LEFT JOIN producer_epochs e
    ON e.organization_id = p.organization_id AND e.producer = p.id AND e.epoch = p.beat_epoch
WHERE p.organization_id = $1 AND p.beat_epoch IS NOT NULL
    AND coalesce(p.beat_waiting - 1, p.beat_last) > coalesce(e.highest, 0)
LIMIT 1000

-- claiming --
-- Organizations in which such a claim stands.
SELECT DISTINCT p.organization_id FROM producers p LEFT JOIN producer_epochs e
    ON e.organization_id = p.organization_id AND e.producer = p.id AND e.epoch = p.beat_epoch
WHERE p.beat_epoch IS NOT NULL AND coalesce(p.beat_waiting - 1, p.beat_last) > coalesce(e.highest, 0)

-- in_doubt --
-- Epochs of which something is missing, was reported to be, or came twice, in logs that were read to their end.
SELECT e.organization_id, e.producer, e.epoch, e.last_event_at, e.highest, e.events, e.conflicts, e.missing::text,
    e.unsent::text, e.unlisted, e.floor, e.suspected::text, e.suspected_at, e.reported::text, e.conflicts_reported,
    CASE WHEN p.beat_epoch = e.epoch THEN p.beat_waiting END AS waiting
FROM producer_epochs e JOIN producers p ON p.organization_id = e.organization_id AND p.id = e.producer
JOIN log_head h ON h.organization_id = e.organization_id
JOIN producer_cursors c ON c.organization_id = e.organization_id AND c.position >= h.size - $1
WHERE NOT isempty(e.missing) OR NOT isempty(e.reported) OR (e.conflicts > 0 AND NOT e.conflicts_reported)
LIMIT 1000

-- suspect --
-- Note what is missing now, to look again later.
UPDATE producer_epochs SET suspected = $4::text::int8multirange, suspected_at = $5
WHERE organization_id = $1 AND producer = $2 AND epoch = $3

-- report --
-- Note what an event of the log now tells of, unless another server was faster.
UPDATE producer_epochs SET reported = $4::text::int8multirange, suspected = '{}', suspected_at = NULL, conflicts_reported = $5
WHERE organization_id = $1 AND producer = $2 AND epoch = $3
    AND reported = $6::text::int8multirange AND conflicts_reported = $7
RETURNING 1

-- fallen_silent --
-- Producers that promised signs of life and gave none for three intervals, counted from $2 at the earliest.
SELECT p.organization_id, p.id, greatest(p.last_event_at, p.beat_at) AS last_at, p.interval_seconds FROM producers p
WHERE p.interval_seconds > 0 AND p.silent_since IS NULL
    AND greatest(p.last_event_at, p.beat_at, $2) + make_interval(secs => 3 * p.interval_seconds) < $1
LIMIT 1000

-- back_again --
-- Producers that were reported as silent and have given a sign of life since, or will not give any more.
SELECT p.organization_id, p.id, p.silent_since AS last_at, p.interval_seconds FROM producers p
WHERE p.silent_since IS NOT NULL AND greatest(p.last_event_at, p.beat_at) > p.silent_since
LIMIT 1000

-- set_silent --
-- Note reported silence, or its end, unless another server was faster.
UPDATE producers SET silent_since = $3 WHERE organization_id = $1 AND id = $2 AND silent_since IS NOT DISTINCT FROM $4
RETURNING 1

-- list --
-- Producers in the order of their names, from one name on.
SELECT p.id, p.first_seen_at, p.last_event_at, p.last_position, p.beat_at, p.beat_epoch, p.beat_last, p.beat_waiting,
    p.interval_seconds, p.silent_since
FROM producers p WHERE p.organization_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3

-- one --
-- One producer.
SELECT p.id, p.first_seen_at, p.last_event_at, p.last_position, p.beat_at, p.beat_epoch, p.beat_last, p.beat_waiting,
    p.interval_seconds, p.silent_since
FROM producers p WHERE p.organization_id = $1 AND p.id = $2

-- epochs --
-- The accounts of these producers, the newest epoch of each first.
SELECT e.producer, e.epoch, e.last_event_at, e.highest, e.events, e.conflicts, e.missing::text, e.unsent::text, e.unlisted,
    e.floor, e.suspected::text, e.suspected_at, e.reported::text, e.conflicts_reported
FROM producer_epochs e WHERE e.organization_id = $1 AND e.producer = ANY ($2)
ORDER BY e.producer, e.last_event_at DESC, e.epoch LIMIT $3

-- Parameters are named, `:name`; store/statement.py numbers them.

-- held_by --
-- The holds in force, each with how the leaves of its people name them.
SELECT h.workspace, h.target, h.actor, h.since, h.until, ARRAY(
    SELECT convert_to('"ref":"' || replace(s.ref::text, '-', '') || '"', 'UTF8') FROM subjects s
    WHERE s.organization_id = h.organization_id AND (s.id = h.actor OR s.ref IN (
        SELECT l.ref FROM subject_labels l
        WHERE l.organization_id = h.organization_id AND l.label = lower(h.actor)))) AS marks
FROM legal_holds h WHERE h.organization_id = :organization AND h.released_at IS NULL

-- is_held --
-- Whether a hold in force is for row `a`: each of its filters fits, its time by either of the row's two clocks.
EXISTS (
    SELECT FROM held_by h
    WHERE (h.workspace IS NULL OR h.workspace = a.workspace)
        AND (h.target IS NULL OR h.target = a.target_id OR EXISTS (
            SELECT FROM unnest(a.more_targets) WITH ORDINALITY AS t (value, n) WHERE t.n % 2 = 0 AND t.value = h.target))
        AND (((h.since IS NULL OR a.occurred_at >= h.since) AND (h.until IS NULL OR a.occurred_at < h.until))
            OR ((h.since IS NULL OR a.received_at >= h.since) AND (h.until IS NULL OR a.received_at < h.until)))
        AND (h.actor IS NULL OR EXISTS (SELECT FROM unnest(h.marks) AS m (mark) WHERE position(m.mark IN a.leaf) > 0))
)

-- is_record --
-- Whether row `a` is one by which the log keeps account of itself, which stays as long as the organization does.
(a.stream = 'tallystick' AND a.action = ANY (:records::text[]))

-- due --
-- Positions in [first, end) that are due, as ranges by the rule they fall under; at most `rows_max` of them. The bounds say
-- up to which position each rule removes; of several rules of a row the one that keeps longest counts.
WITH held_by AS MATERIALIZED ({held_by})
SELECT e.rule, min(e.position) AS first, count(*) AS events FROM (
    SELECT d.rule, d.position, d.position - row_number() OVER (PARTITION BY d.rule ORDER BY d.position) AS island
    FROM (
        SELECT r.rule, a.position FROM audit_logs a CROSS JOIN LATERAL (
            SELECT u.rule, u.bound
            FROM unnest(:rules::text[], :streams::text[], :workspaces::text[], :bounds::bigint[])
                AS u (rule, stream, workspace, bound)
            WHERE (u.stream = a.stream OR u.workspace = a.workspace) OR (u.stream IS NULL AND u.workspace IS NULL)
            ORDER BY u.stream IS NULL AND u.workspace IS NULL, u.bound LIMIT 1
        ) r
        WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
            AND a.received_at >= :received_from AND a.received_at < :received_to
            AND a.position < r.bound AND NOT {is_record} AND NOT {is_held}
        ORDER BY a.position LIMIT :rows_max
    ) d
) e GROUP BY e.rule, e.island ORDER BY 2

-- due_plainly --
-- The same where there is one rule and no hold.
SELECT e.rule, min(e.position) AS first, count(*) AS events FROM (
    SELECT d.rule, d.position, d.position - row_number() OVER (ORDER BY d.position) AS island
    FROM (
        SELECT (:rules::text[])[1] AS rule, a.position FROM audit_logs a
        WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
            AND a.received_at >= :received_from AND a.received_at < :received_to
            AND a.position < (:bounds::bigint[])[1] AND NOT {is_record}
        ORDER BY a.position LIMIT :rows_max
    ) d
) e GROUP BY e.rule, e.island ORDER BY 2

-- due_count --
-- How many rows would be due, by rule: the preview.
WITH held_by AS MATERIALIZED ({held_by})
SELECT r.rule, count(*) AS events, count(*) FILTER (WHERE {is_held}) AS held
FROM audit_logs a CROSS JOIN LATERAL (
    SELECT u.rule, u.bound
    FROM unnest(:rules::text[], :streams::text[], :workspaces::text[], :bounds::bigint[])
        AS u (rule, stream, workspace, bound)
    WHERE (u.stream = a.stream OR u.workspace = a.workspace) OR (u.stream IS NULL AND u.workspace IS NULL)
    ORDER BY u.stream IS NULL AND u.workspace IS NULL, u.bound LIMIT 1
) r
WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end AND a.position < r.bound
    AND NOT {is_record}
GROUP BY r.rule

-- held_among --
-- Which of these positions a hold in force is for, as ranges.
WITH held_by AS MATERIALIZED ({held_by})
SELECT min(e.position) AS first, count(*) AS events FROM (
    SELECT a.position, a.position - row_number() OVER (ORDER BY a.position) AS island FROM audit_logs a
    WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
        AND a.position <@ :positions::text::int8multirange AND {is_held}
) e GROUP BY e.island ORDER BY 1

-- others_in_month --
-- How many rows of other organizations were received in a month, up to a number.
SELECT count(*) FROM (
    SELECT FROM audit_logs a WHERE a.organization_id <> :organization
        AND a.received_at >= :received_from AND a.received_at < :received_to LIMIT :rows_max
) o

-- months --
-- Where each month of a log begins, oldest first.
SELECT month, first_position FROM log_months WHERE organization_id = :organization ORDER BY month

-- checkpoint_before --
-- The largest checkpoint signed before a moment: what it covers is older than that.
SELECT size, note FROM log_checkpoints WHERE organization_id = :organization AND signed_at < :before
ORDER BY size DESC, signed_at DESC LIMIT 1

-- take_turn --
-- Let nobody else change what is kept, held or removed of this organization until this transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(:organization::uuid::text, 77))

-- begin_removal --
-- Write down what this transaction is about to remove.
INSERT INTO removals (organization_id, id, kind, positions)
VALUES (:organization, :id, :kind, :positions::text::int8multirange)

-- place_removal --
-- Say where in the log its record stands.
UPDATE removals SET position = :position, recorded_at = :recorded_at WHERE organization_id = :organization AND id = :id

-- counted --
-- What dictionaries and rollup count of the rows `gone`.
SELECT GROUPING(g.action, g.workspace, g.target_type, g.stream, g.outcome, g.verb, g.actor_type, g.actor_ref, g.hour)
        AS grouping, g.action, g.workspace, g.target_type, g.stream, g.outcome, g.verb, g.actor_type, g.actor_ref,
    g.hour, count(*) AS events
FROM gone g
GROUP BY GROUPING SETS ((g.action), (g.workspace), (g.target_type), (g.stream), (g.outcome), (g.verb), (g.actor_type),
    (g.actor_ref), (g.hour, g.outcome))

-- counted_columns --
-- What is counted of a row `a`.
a.action, a.workspace, a.target_type, a.stream, a.outcome, a.verb, a.actor_type, a.actor_ref::text AS actor_ref,
    date_trunc('hour', a.occurred_at, 'UTC') AS hour

-- remove_rows --
-- Remove rows, forget the ids of those that nobody can be sending again any more, and count what is gone.
WITH gone AS (
    DELETE FROM audit_logs a WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
        AND a.received_at >= :received_from AND a.received_at < :received_to
        AND a.position <@ :positions::text::int8multirange
    RETURNING a.id, a.received_at, {counted_columns}
), forgotten AS (
    DELETE FROM idempotency i USING gone g
    WHERE i.organization_id = :organization AND i.id = g.id AND g.received_at < :forget_before
), unheld AS (
    DELETE FROM quarantine q WHERE q.organization_id = :organization
        AND q.position <@ :positions::text::int8multirange
)
{counted}

-- count_rows --
-- Count what is about to go with its month.
WITH gone AS (
    SELECT {counted_columns} FROM audit_logs a
    WHERE a.organization_id = :organization AND a.received_at >= :received_from AND a.received_at < :received_to
        AND a.position <@ :positions::text::int8multirange
)
{counted}

-- unquarantine --
-- Forget what was wrong with events that are gone.
DELETE FROM quarantine q WHERE q.organization_id = :organization AND q.position <@ :positions::text::int8multirange

-- remove_month --
-- Take rows out of a month by writing anew those that stay.
SELECT remove_month(:organization, :month, :patience)

-- forget_ids --
-- Forget ids of events of a month that is gone, some at a time.
DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
    SELECT i.ctid FROM idempotency i WHERE i.organization_id = :organization
        AND i.received_at >= :received_from AND i.received_at < :received_to AND i.received_at < :forget_before
        AND i.position <@ :positions::text::int8multirange LIMIT :rows_max))

-- lessen_terms --
-- Take what is gone off the dictionaries.
UPDATE terms t SET events = t.events - n.events FROM unnest(:kinds::text[], :values::text[], :numbers::bigint[])
    AS n (kind, value, events)
WHERE t.organization_id = :organization AND t.kind = n.kind AND t.value = n.value

-- drop_terms --
-- Forget what no event has any more.
DELETE FROM terms t USING unnest(:kinds::text[], :values::text[]) AS n (kind, value)
WHERE t.organization_id = :organization AND t.kind = n.kind AND t.value = n.value AND t.events = 0

-- lessen_hours --
-- Take what is gone off the rollup.
UPDATE event_counts c SET success = c.success - n.success, failure = c.failure - n.failure,
    denied = c.denied - n.denied, unknown = c.unknown - n.unknown
FROM (SELECT u.hour,
        coalesce(sum(u.events) FILTER (WHERE u.outcome = 'success'), 0) AS success,
        coalesce(sum(u.events) FILTER (WHERE u.outcome = 'failure'), 0) AS failure,
        coalesce(sum(u.events) FILTER (WHERE u.outcome = 'denied'), 0) AS denied,
        coalesce(sum(u.events) FILTER (WHERE u.outcome = 'unknown'), 0) AS unknown
    FROM unnest(:hours::timestamptz[], :outcomes::text[], :numbers::bigint[]) AS u (hour, outcome, events)
    GROUP BY u.hour) n
WHERE c.organization_id = :organization AND c.hour = n.hour

-- drop_hours --
-- Forget hours that no event is of any more.
DELETE FROM event_counts c WHERE c.organization_id = :organization AND c.hour = ANY (:hours::timestamptz[])
    AND (c.success, c.failure, c.denied, c.unknown) = (0, 0, 0, 0)

-- removed_within --
-- What of [first, end) is gone, as ranges.
SELECT lower(r.range) AS first, upper(r.range) AS end FROM unnest((
    SELECT range_agg(m.positions) * int8multirange(int8range(:first, :end)) FROM removals m
    WHERE m.organization_id = :organization AND m.end_position > :first AND m.first_position < :end
        AND m.kind <> 'fields'
)) AS r (range)

-- tiles_within --
-- The tiles that hold the leaf hashes of [first, end).
SELECT index, hashes FROM log_tiles WHERE organization_id = :organization AND level = 0
    AND index >= :first::bigint / 256 AND index <= (:end::bigint - 1) / 256 ORDER BY index

-- records_within --
-- Where the records stand that concern positions in [first, end): removals of them, and every policy and hold.
SELECT r.position FROM removals r WHERE r.organization_id = :organization AND r.end_position > :first
    AND r.first_position < :end
UNION SELECT p.position FROM retention_policies p WHERE p.organization_id = :organization
UNION SELECT h.set_position FROM legal_holds h WHERE h.organization_id = :organization
UNION SELECT h.released_position FROM legal_holds h
WHERE h.organization_id = :organization AND h.released_position IS NOT NULL
ORDER BY 1

-- removed_since --
-- Whether anything of [first, end) was taken by an event at position size or later.
SELECT EXISTS (SELECT FROM removals r WHERE r.organization_id = :organization AND r.position >= :size
    AND r.end_position > :first AND r.first_position < :end) AS found

-- rows_at --
-- Some rows by position.
SELECT a.position, a.leaf_hash, a.leaf, a.opening, a.seed FROM audit_logs a
WHERE a.organization_id = :organization AND a.position = ANY (:positions::bigint[]) ORDER BY a.position

-- policies --
-- Every version of every rule, in the order they were recorded.
SELECT rule, position, stream, workspace, class, days, ended, recorded_at, effective_at
FROM retention_policies WHERE organization_id = :organization ORDER BY position

-- add_policy --
-- A new version of a rule.
INSERT INTO retention_policies (organization_id, rule, position, stream, workspace, class, days, ended, recorded_at,
    effective_at)
VALUES (:organization, :rule, :position, :stream, :workspace, :class, :days, :ended, :recorded_at, :effective_at)

-- holds --
-- Every hold, oldest first.
SELECT id, reason, actor, target, workspace, since, until, set_at, released_at FROM legal_holds
WHERE organization_id = :organization ORDER BY set_position

-- hold --
-- One hold.
SELECT id, reason, actor, target, workspace, since, until, set_at, released_at FROM legal_holds
WHERE organization_id = :organization AND id = :id

-- add_hold --
-- A new hold.
INSERT INTO legal_holds (organization_id, id, reason, actor, target, workspace, since, until, set_position, set_at)
VALUES (:organization, :id, :reason, :actor, :target, :workspace, :since, :until, :position, :set_at)

-- release_hold --
-- Release a hold that is in force.
UPDATE legal_holds SET released_position = :position, released_at = :released_at
WHERE organization_id = :organization AND id = :id AND released_at IS NULL RETURNING id

-- covered --
-- What a hold would be for, as ranges of positions.
WITH held_by AS MATERIALIZED (
    SELECT f.workspace, f.target, f.actor, f.since, f.until, ARRAY(
        SELECT convert_to('"ref":"' || replace(s.ref::text, '-', '') || '"', 'UTF8') FROM subjects s
        WHERE s.organization_id = :organization AND (s.id = f.actor OR s.ref IN (
            SELECT l.ref FROM subject_labels l
            WHERE l.organization_id = :organization AND l.label = lower(f.actor)))) AS marks
    FROM (VALUES (:workspace::text, :target::text, :actor::text, :since::timestamptz, :until::timestamptz))
        AS f (workspace, target, actor, since, until)
)
SELECT min(e.position) AS first, count(*) AS events FROM (
    SELECT a.position, a.position - row_number() OVER (ORDER BY a.position) AS island FROM audit_logs a
    WHERE a.organization_id = :organization AND {is_held}
) e GROUP BY e.island ORDER BY 1

-- take_lease --
-- Become the one who does something, or go on being it; nothing when somebody else is.
INSERT INTO leases AS l (name, holder, until) VALUES (:name, :holder, :until)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE l.holder = excluded.holder OR l.until <= :now RETURNING holder

-- drop_lease --
-- Let somebody else do it.
UPDATE leases SET until = :now WHERE name = :name AND holder = :holder

-- dual_control --
-- Whether some acts of this organization need a second person.
SELECT config -> 'dual_control' = 'true'::jsonb AS on FROM organizations WHERE id = :organization

-- archive_wanted --
-- Whether this organization wants a copy of what is removed.
SELECT config -> 'retention_archive' = 'true'::jsonb AS on FROM organizations WHERE id = :organization

-- set_dual_control --
-- Have some acts need a second person, or not.
UPDATE organizations SET config = config || jsonb_build_object('dual_control', :on::boolean) WHERE id = :organization
RETURNING id

-- approvals --
-- Requests of approval, newest first.
SELECT id, act, request, requested_by, requested_at, expires_at, decision, decided_by, decided_at, used_at FROM approvals
WHERE organization_id = :organization AND (:id::text IS NULL OR id = :id) ORDER BY requested_at DESC, id LIMIT :rows_max

-- add_approval --
-- Ask for a second person.
INSERT INTO approvals (organization_id, id, act, request, requested_by, requested_at, expires_at)
VALUES (:organization, :id, :act, :request, :requested_by, :requested_at, :expires_at)

-- decide --
-- Approve or refuse what nobody has decided and what is not over.
UPDATE approvals SET decision = :decision, decided_by = :decided_by, decided_at = :decided_at
WHERE organization_id = :organization AND id = :id AND decision IS NULL AND expires_at > :decided_at RETURNING id

-- makers --
-- Who made a key, who made the key that made it, and so on.
WITH RECURSIVE chain AS (
    SELECT k.id, k.created_by FROM api_keys k WHERE k.organization_id = :organization AND k.id = :id
    UNION SELECT k.id, k.created_by FROM chain c
    JOIN api_keys k ON k.organization_id = :organization AND k.id = c.created_by
) SELECT id, created_by FROM chain

-- lonely_subjects --
-- Subjects that no event is by any more, some of them.
SELECT s.ref FROM subjects s WHERE s.organization_id = :organization AND NOT EXISTS (
    SELECT FROM terms t WHERE t.organization_id = :organization AND t.kind = 'actor_ref' AND t.value = s.ref::text)
LIMIT :rows_max

-- delegated_refs --
-- Whom events of [first, end) were done for, as the leaves write them.
SELECT DISTINCT m[1] AS ref FROM audit_logs a,
    regexp_matches(convert_from(a.leaf, 'UTF8'), '"ref":"([0-9a-f]{32})"', 'g') AS m
WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
    AND position('"on_behalf_of":['::bytea IN a.leaf) > 0

-- lock_head --
-- Let nothing be appended until this transaction ends.
SELECT size FROM log_head WHERE organization_id = :organization FOR UPDATE

-- forget_subjects --
-- Nobody is behind these pseudonyms any more, unless an event is by them again.
DELETE FROM subjects s WHERE s.organization_id = :organization AND s.ref = ANY (:refs::uuid[]) AND NOT EXISTS (
    SELECT FROM terms t WHERE t.organization_id = :organization AND t.kind = 'actor_ref' AND t.value = s.ref::text)
RETURNING s.ref

-- forget_labels --
-- And nobody is found by what they were known by.
DELETE FROM subject_labels WHERE organization_id = :organization AND ref = ANY (:refs::uuid[])

-- raise_epoch --
-- Servers forget the pseudonyms that they remember.
UPDATE log_head SET subject_epoch = subject_epoch + 1 WHERE organization_id = :organization

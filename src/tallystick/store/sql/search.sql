-- Parameters are named, `:name`; store/statement.py numbers them. `{name}` puts in another statement of this file.

-- of_action --
-- Its action is one that a word is part of.
a.action = ANY (:{g}_actions::text[])

-- of_ref --
-- Its actor is one that is known by the text.
a.actor_ref = ANY (:{g}_refs::uuid[])

-- of_type --
-- Its main target is of a type that the word is part of.
a.target_type = ANY (:{g}_types::text[])

-- of_id --
-- One of its targets has the word as its id.
a.target_id = ANY (:{g}_ids::text[]) OR (a.more_targets <> '{}' AND (
    SELECT true FROM generate_series(2, cardinality(a.more_targets), 2) AS n
    WHERE a.more_targets[n] = ANY (:{g}_ids::text[]) LIMIT 1))

-- of_label --
-- Its actor is known by a label with the text in it: where too many are, each row asks for its own actor.
(:{g}_by_label::boolean AND a.actor_ref <> ALL (:nobody::uuid[]) AND (
    SELECT true FROM subject_labels l, unnest(:{g}_texts::text[]) AS t (text)
    WHERE l.organization_id = :organization AND l.ref = a.actor_ref AND strpos(l.label, t.text) > 0 LIMIT 1))

-- told --
-- The id, name and e-mail that the row itself tells of its actor have the text in them, A-Z folded.
(SELECT true FROM audit_logs r, LATERAL (SELECT convert_from(r.opening, 'UTF8')::json AS values) o,
        unnest(:{g}_texts::text[]) AS t (text)
    WHERE r.organization_id = :organization AND r.position = a.position AND r.received_at = a.received_at
        AND r.occurred_at = a.occurred_at AND (strpos(lower((o.values ->> 'actor/name') COLLATE "C"), t.text) > 0
        OR strpos(lower((o.values ->> 'actor/email') COLLATE "C"), t.text) > 0
        OR strpos(lower((o.values ->> 'actor/id') COLLATE "C"), t.text) > 0) LIMIT 1)

-- of_nobody --
-- Its actor has no id and is nobody in particular, or may be known by what is told here alone: the row itself counts.
(a.actor_ref = ANY (:{g}_nobody::uuid[]) AND {told_{g}})

-- of_told --
-- The same where too many persons fit the text to be named: every row is asked itself.
(:{g}_by_told::boolean AND {told_{g}})

-- anyof --
-- One free word, or the wanted persons: one of these must hold. NULL actions = no such condition.
(:{g}_actions::text[] IS NULL OR {anyof_terms_{g}})

-- anyof_terms --
-- The ways in which a word or a person fits.
{of_action_{g}}
OR {of_ref_{g}}
OR {of_type_{g}}
OR {of_id_{g}}
OR {of_label_{g}}
OR {of_nobody_{g}}
OR {of_told_{g}}

-- fits_actions --
-- Its action is one of these.
(:actions::text[] IS NULL OR a.action = ANY (:actions::text[]))

-- fits_not_actions --
-- Its action is none of these.
(:not_actions::text[] IS NULL OR a.action <> ALL (:not_actions::text[]))

-- fits_verbs --
-- The class of its action is one of these.
(:verbs::text[] IS NULL OR a.verb = ANY (:verbs::text[]))

-- fits_outcomes --
-- It ended in one of these ways.
(:outcomes::text[] IS NULL OR a.outcome = ANY (:outcomes::text[]))

-- fits_streams --
-- It is of one of these streams.
(:streams::text[] IS NULL OR a.stream = ANY (:streams::text[]))

-- fits_workspaces --
-- It is of one of these workspaces.
(:workspaces::text[] IS NULL OR a.workspace = ANY (:workspaces::text[]))

-- fits_not_workspaces --
-- It is of none of these workspaces.
(:not_workspaces::text[] IS NULL OR a.workspace <> ALL (:not_workspaces::text[]))

-- fits_actor_types --
-- Its actor is of one of these types.
(:actor_types::text[] IS NULL OR a.actor_type = ANY (:actor_types::text[]))

-- fits_refs --
-- Its actor is one of these.
(:refs::uuid[] IS NULL OR a.actor_ref = ANY (:refs::uuid[]))

-- fits_not_refs --
-- Its actor is none of these.
(:not_refs::uuid[] IS NULL OR a.actor_ref <> ALL (:not_refs::uuid[]))

-- fits_ips --
-- It came from one of these addresses.
(:ips::text[] IS NULL OR a.ip = ANY (:ips::text[]))

-- fits_not_ips --
-- It came from none of these addresses.
(:not_ips::text[] IS NULL OR a.ip <> ALL (:not_ips::text[]))

-- fits_request_ids --
-- It is of one of these requests.
(:request_ids::text[] IS NULL OR a.request_id = ANY (:request_ids::text[]))

-- fits_not_request_ids --
-- It is of none of these requests.
(:not_request_ids::text[] IS NULL OR a.request_id <> ALL (:not_request_ids::text[]))

-- fits_targets --
-- One and the same target has one of these types and one of these ids.
((:target_types::text[] IS NULL AND :target_ids::text[] IS NULL)
    OR ((:target_types::text[] IS NULL OR a.target_type = ANY (:target_types::text[]))
        AND (:target_ids::text[] IS NULL OR a.target_id = ANY (:target_ids::text[])))
    OR (a.more_targets <> '{}' AND (
        SELECT true FROM generate_series(1, cardinality(a.more_targets), 2) AS n
        WHERE (:target_types::text[] IS NULL OR a.more_targets[n] = ANY (:target_types::text[]))
            AND (:target_ids::text[] IS NULL OR a.more_targets[n + 1] = ANY (:target_ids::text[])) LIMIT 1)))

-- fits_not_target_types --
-- No target has one of these types.
(:not_target_types::text[] IS NULL OR (a.target_type <> ALL (:not_target_types::text[]) AND NOT EXISTS (
    SELECT FROM generate_series(1, cardinality(a.more_targets), 2) AS n
    WHERE a.more_targets[n] = ANY (:not_target_types::text[]))))

-- fits_not_target_ids --
-- No target has one of these ids.
(:not_target_ids::text[] IS NULL OR (a.target_id <> ALL (:not_target_ids::text[]) AND NOT EXISTS (
    SELECT FROM generate_series(1, cardinality(a.more_targets), 2) AS n
    WHERE a.more_targets[n + 1] = ANY (:not_target_ids::text[]))))

-- fits_persons --
-- Its actor is one of the wanted persons.
{anyof_persons}

-- fits_word1 --
-- A free word fits.
{anyof_word1}

-- fits_word2 --
-- A free word fits.
{anyof_word2}

-- fits_word3 --
-- A free word fits.
{anyof_word3}

-- fits_word4 --
-- A free word fits.
{anyof_word4}

-- fits_never --
-- Neither an unwanted person nor an unwanted word fits.
(:never_actions::text[] IS NULL OR NOT coalesce({anyof_never}, false))

-- matching --
-- Everything a row must fit besides its time and partition. Where it is known what is asked for, only those pieces
-- are put in: the plan of a year of months is then made in a tenth of the time.
{fits_actions}
AND {fits_not_actions}
AND {fits_verbs}
AND {fits_outcomes}
AND {fits_streams}
AND {fits_workspaces}
AND {fits_not_workspaces}
AND {fits_actor_types}
AND {fits_refs}
AND {fits_not_refs}
AND {fits_ips}
AND {fits_not_ips}
AND {fits_request_ids}
AND {fits_not_request_ids}
AND {fits_targets}
AND {fits_not_target_types}
AND {fits_not_target_ids}
AND {fits_persons}
AND {fits_word1}
AND {fits_word2}
AND {fits_word3}
AND {fits_word4}
AND {fits_never}

-- facets_of --
-- The hashes under which rows with any of the given values are found; audit_facets() makes the same ones.
(SELECT coalesce(array_agg(CASE f.kind
        WHEN 1 THEN uuid_hash_extended(f.value::uuid, uuid_hash_extended(:organization, 1))
        ELSE hashtextextended(f.value, uuid_hash_extended(:organization, f.kind)) END), '{}')
    FROM unnest(:{s}_kinds::int[], :{s}_values::text[]) AS f (kind, value))

-- row_facets --
-- The indexed expression.
audit_facets(a.organization_id, a.actor_ref, a.actor_type, a.action, a.verb, a.outcome, a.stream, a.workspace,
    a.target_type, a.target_id, a.more_targets, a.ip, a.request_id)

-- hit --
-- The facet index finds it by one slot.
{row_facets} && {facets_of_{s}}

-- hits --
-- The facet index finds it by every slot in use.
{hit_slot1} AND {hit_slot2} AND {hit_slot3}

-- in_time --
-- The rows that may be seen, in their months, within the time range and beyond the place of a cursor.
a.received_at >= :received_from AND a.received_at < :received_to AND a.position < :size
AND a.occurred_at >= :since AND a.occurred_at < :until

-- scan_newest --
-- Walk a bounded number of rows from the newest backwards and keep those that match: best when many do. The last
-- row of the walk comes back too, matching or not: from there it goes on.
SELECT a.position, a.occurred_at, a.leaf, a.opening, ({matching}) IS TRUE AS hit, a.n FROM (
    SELECT w.*, row_number() OVER () AS n FROM (
        SELECT * FROM audit_logs a
        WHERE a.organization_id = :organization AND {in_time}
            AND (a.occurred_at, a.position) < (:place_at, :place_position)
        ORDER BY a.occurred_at DESC, a.position DESC LIMIT :rows_max
    ) w
) a WHERE {matching} OR a.n = :rows_max LIMIT :wanted

-- scan_oldest --
-- The same from the oldest forwards.
SELECT a.position, a.occurred_at, a.leaf, a.opening, ({matching}) IS TRUE AS hit, a.n FROM (
    SELECT w.*, row_number() OVER () AS n FROM (
        SELECT * FROM audit_logs a
        WHERE a.organization_id = :organization AND {in_time}
            AND (a.occurred_at, a.position) > (:place_at, :place_position)
        ORDER BY a.occurred_at, a.position LIMIT :rows_max
    ) w
) a WHERE {matching} OR a.n = :rows_max LIMIT :wanted

-- by_facet --
-- The rows that the facet index finds. The organization is part of every hash. Everything else an index could serve
-- is compared in a form that none understands, which leaves the planner one way only, the right one. A policy on the
-- table itself would switch that index off, so it is a view that holds the same fence and shows no content.
audit_candidates a
WHERE (a.organization_id = :organization) IS TRUE
    AND a.received_at >= :received_from AND a.received_at < :received_to
    AND (a.position < :size AND a.occurred_at >= :since AND a.occurred_at < :until) IS TRUE
    AND {hits}
    AND {matching}

-- content --
-- What the fenced table holds of the rows found, one by one; OFFSET 0 keeps it from being joined otherwise. With the time
-- of the event too, whichever of its two indexes the planner takes leads straight to the row.
LATERAL (SELECT l.leaf, l.opening FROM audit_logs l WHERE l.organization_id = :organization AND l.position = c.position
    AND l.received_at = c.received_at AND l.occurred_at = c.occurred_at OFFSET 0) r

-- probe_newest --
-- Look the matching rows up in the facet index and sort them: best when few match.
SELECT c.position, c.occurred_at, r.leaf, r.opening FROM (
    SELECT a.position, a.occurred_at, a.received_at FROM {by_facet}
        AND ((a.occurred_at, a.position) < (:place_at, :place_position)) IS TRUE
    ORDER BY a.occurred_at DESC, a.position DESC LIMIT :wanted
) c, {content} ORDER BY c.occurred_at DESC, c.position DESC

-- probe_oldest --
-- The same from the oldest forwards.
SELECT c.position, c.occurred_at, r.leaf, r.opening FROM (
    SELECT a.position, a.occurred_at, a.received_at FROM {by_facet}
        AND ((a.occurred_at, a.position) > (:place_at, :place_position)) IS TRUE
    ORDER BY a.occurred_at, a.position LIMIT :wanted
) c, {content} ORDER BY c.occurred_at, c.position

-- resolve --
-- In one snapshot: the size of the log, its months, and the dictionary's entries for the values that are asked for, no
-- more than :entries_max of each sort.
-- what = size | month | term | nobody | subject
SELECT 'size' AS what, '' AS kind, '' AS value, h.size AS events, NULL::uuid AS ref, NULL::timestamptz AS month
FROM log_head h WHERE h.organization_id = :organization
UNION ALL
SELECT 'month', '', '', m.first_position, NULL, m.month FROM log_months m WHERE m.organization_id = :organization
UNION ALL
(SELECT 'term', t.kind, t.value, t.events, NULL, NULL FROM terms t
WHERE t.organization_id = :organization AND t.kind = ANY (:whole_kinds::text[]) LIMIT :entries_max)
UNION ALL
SELECT 'term', t.kind, t.value, t.events, NULL, NULL
FROM unnest(:exact_kinds::text[], :exact_values::text[]) AS e (kind, value)
JOIN terms t ON t.organization_id = :organization AND t.kind = e.kind AND t.value = e.value
UNION ALL
(SELECT 'term', t.kind, t.value, t.events, NULL, NULL FROM terms t
WHERE t.organization_id = :organization AND t.kind = ANY (:text_kinds::text[])
    AND (SELECT true FROM unnest(:texts::text[]) AS w (text)
        WHERE strpos(lower(t.value COLLATE "C"), w.text) > 0 LIMIT 1) LIMIT :entries_max)
UNION ALL
SELECT 'nobody', '', '', 0, s.ref, NULL FROM subjects s
WHERE s.organization_id = :organization AND s.type = ANY (:nobody_types::text[]) AND s.id = ''
UNION ALL
SELECT 'subject', s.type, s.id, coalesce((SELECT t.events FROM terms t
    WHERE t.organization_id = :organization AND t.kind = 'actor_ref' AND t.value = s.ref::text), 0), s.ref, NULL
FROM subjects s WHERE s.organization_id = :organization AND s.type = ANY (:subject_types::text[]) AND s.id = ANY (:subject_ids::text[])

-- resolve_people --
-- Who is known by a label that contains each text, by its pieces, or for texts too short to have any by reading the
-- organization's labels. No more than :labels_max labels are read; where there are as many, or more than :people_max
-- persons, one row says so and stands for nobody in particular. Events are counted one by one, of :counted_max persons
-- only: a join would rather read the counts of everybody.
SELECT w.text, l.ref, l.whole, CASE WHEN l.whole AND l.n <= :counted_max THEN coalesce((
    SELECT t.events FROM terms t
    WHERE t.organization_id = :organization AND t.kind = 'actor_ref' AND t.value = l.ref::text), 0) END AS events
FROM unnest(:texts::text[], :trigrams::text[]) AS w (text, trigrams), LATERAL (
    SELECT p.ref, row_number() OVER () AS n,
        sum(p.labels) OVER () < :labels_max AND count(*) OVER () <= :people_max AS whole
    FROM (
        SELECT f.ref, count(*) AS labels FROM (
            (SELECT l.ref FROM subject_label_candidates l
            WHERE (l.organization_id = :organization) IS TRUE AND w.trigrams <> '{}'
                AND l.trigrams @> w.trigrams::int[] AND strpos(l.label, w.text) > 0 LIMIT :labels_max)
            UNION ALL
            (SELECT l.ref FROM subject_labels l
            WHERE l.organization_id = :organization AND w.trigrams = '{}' AND strpos(l.label, w.text) > 0
            LIMIT :labels_max)
        ) f GROUP BY f.ref
    ) p
) l
WHERE l.whole OR l.n = 1

-- month_bounds --
-- The first and last occurred_at among the rows of each of the given months, which are over.
SELECT m.month,
    (SELECT min(a.occurred_at) FROM audit_logs a WHERE a.organization_id = :organization
        AND a.received_at >= m.month AND a.received_at < m.next) AS first_at,
    (SELECT max(a.occurred_at) FROM audit_logs a WHERE a.organization_id = :organization
        AND a.received_at >= m.month AND a.received_at < m.next) AS last_at
FROM unnest(:months::timestamptz[], :next_months::timestamptz[]) AS m (month, next)

-- rows_scanned --
-- Matching rows of some months by the time index, the newest first, no more than wanted, for counting.
(SELECT a.* FROM audit_logs a
WHERE a.organization_id = :organization AND {in_time} AND {matching}
ORDER BY a.occurred_at DESC, a.position DESC LIMIT :wanted) a

-- rows_probed --
-- The same by the facet index.
(SELECT a.* FROM {by_facet} LIMIT :wanted) a

-- count_scanned --
-- How many rows match, up to the number wanted.
SELECT count(*) FROM {rows_scanned}

-- count_probed --
-- How many rows match, up to the number wanted.
SELECT count(*) FROM {rows_probed}

-- histogram_scanned --
-- Matching rows by bucket of time, successes apart.
SELECT greatest(date_bin(:width::interval, a.occurred_at, 'epoch'), '0001-01-01Z') AS at, a.outcome = 'success' AS success, count(*) AS events
FROM {rows_scanned} GROUP BY 1, 2

-- histogram_probed --
-- Matching rows by bucket of time, successes apart.
SELECT greatest(date_bin(:width::interval, a.occurred_at, 'epoch'), '0001-01-01Z') AS at, a.outcome = 'success' AS success, count(*) AS events
FROM {rows_probed} GROUP BY 1, 2

-- facets_scanned --
-- How many of the matching rows have each value of each facet.
SELECT a.action, a.outcome, a.actor_type, a.workspace, a.stream, a.verb, a.target_type, count(*) AS events
FROM {rows_scanned}
GROUP BY GROUPING SETS ((a.action), (a.outcome), (a.actor_type), (a.workspace), (a.stream), (a.verb), (a.target_type))

-- facets_probed --
-- How many of the matching rows have each value of each facet.
SELECT a.action, a.outcome, a.actor_type, a.workspace, a.stream, a.verb, a.target_type, count(*) AS events
FROM {rows_probed}
GROUP BY GROUPING SETS ((a.action), (a.outcome), (a.actor_type), (a.workspace), (a.stream), (a.verb), (a.target_type))

-- rollup --
-- Events of whole hours by bucket of time, successes apart; of each outcome once or not at all, as its number says.
SELECT greatest(date_bin(:width::interval, c.hour, 'epoch'), '0001-01-01Z') AS at, (:success::int * sum(c.success))::bigint AS successes,
    (:failure::int * sum(c.failure) + :denied::int * sum(c.denied) + :unknown::int * sum(c.unknown))::bigint AS others
FROM event_counts c
WHERE c.organization_id = :organization AND c.hour >= :first_hour AND c.hour < :end_hour
GROUP BY 1

-- top_terms --
-- The most frequent values of each kind in the whole log.
SELECT k.kind, t.value, t.events FROM unnest(:kinds::text[]) AS k (kind), LATERAL (
    SELECT t.value, t.events FROM terms t WHERE t.organization_id = :organization AND t.kind = k.kind
    ORDER BY t.events DESC, t.value LIMIT :top) t

-- begins_at --
-- The first hour not before :earliest in which an event of the log occurred.
SELECT min(c.hour) FROM event_counts c WHERE c.organization_id = :organization AND c.hour >= :earliest

-- follow --
-- Rows in the order of positions, each with whether it matches; only those that do bring their content.
SELECT h.position, h.hit, CASE WHEN h.hit THEN h.leaf END AS leaf, CASE WHEN h.hit THEN h.opening END AS opening
FROM (
    SELECT a.position, a.leaf, a.opening,
        a.occurred_at >= :since AND a.occurred_at < :until AND {matching} AS hit
    FROM audit_logs a
    WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
        AND a.received_at >= :received_from AND a.received_at < :received_to
) h ORDER BY h.position

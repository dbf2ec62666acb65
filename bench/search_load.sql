-- shapes --
-- The fixed vocabulary of the synthetic log: 300 actions (Zipf), their verbs and target types, 30 target types.
CREATE UNLOGGED TABLE bench_actions AS
SELECT n, thing || '.' || deed || CASE WHEN n >= 210 THEN '_v' || n / 70 ELSE '' END AS action, verb, thing AS target_type
FROM generate_series(0, 299) AS n, LATERAL (SELECT
    (ARRAY['prompt','dataset','model','api_key','member','workspace','evaluation','trace','annotation','deployment',
           'budget','guardrail','secret','webhook','dashboard','experiment','project','role','invite','integration',
           'scorer','queue','run','file','assistant','thread','policy','certificate','session','export'])[1 + n % 30] AS thing,
    (ARRAY['read','listed','created','updated','deleted','shared','invoked'])[1 + n / 30 % 7] AS deed,
    (ARRAY['read','read','create','update','delete','access','admin'])[1 + n / 30 % 7] AS verb) AS words;
CREATE UNIQUE INDEX ON bench_actions (n);

-- people --
-- 50,000 persons, 10,000 in each organization, each with an id, a name and an e-mail.
CREATE UNLOGGED TABLE bench_people AS
SELECT o, n, md5(o || '/' || n)::uuid AS ref, 'usr_' || substr(md5(n || 'x' || o), 1, 12) AS id,
    first || ' ' || last || ' ' || n % 1000 AS name,
    lower(first) || '.' || lower(last) || n || '@' || CASE WHEN n % 20 = 7 THEN 'partner' || n % 300 || '.example' ELSE 'acme' || o || '.example' END AS email
FROM generate_series(0, 4) AS o, generate_series(0, 9999) AS n, LATERAL (SELECT
    (ARRAY['Ada','Grace','Alan','Edsger','Barbara','Donald','Margaret','Linus','Katherine','Dennis','Radia','Ken',
           'Frances','Tim','Hedy','Guido','Sophie','Bjarne','Shafi','Leslie'])[1 + n % 20] AS first,
    (ARRAY['Lovelace','Hopper','Turing','Dijkstra','Liskov','Knuth','Hamilton','Torvalds','Johnson','Ritchie','Perlman',
           'Thompson','Allen','Lee','Lamarr','Rossum','Wilson','Goldwasser','Lamport'])[1 + n / 20 % 19] AS last) AS names;
CREATE UNIQUE INDEX ON bench_people (o, n) INCLUDE (ref, id, name, email);

-- fill_month --
-- Rows number $1 .. $2 - 1 of a log whose rows are $4 apart from $3 on, into the month's table. Everything follows
-- from the row's number, so that two loads are the same. 24 % of the rows belong to the first organization.
INSERT INTO {table} (organization_id, received_at, occurred_at, position, id, actor_ref, actor_type, action, verb,
    outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, opening)
SELECT md5('organization ' || s.o)::uuid, s.received_at, s.occurred_at, s.position, s.id, p.ref, s.actor_type, a.action, a.verb,
    s.outcome, s.stream, s.workspace, a.target_type, s.target_id, s.more_targets, s.ip, s.request_id,
    sha256('\x00'::bytea || l.leaf), decode(md5(s.g || 'seed'), 'hex'), l.leaf, convert_to(format(
        '{"actor/email":"%s","actor/id":"%s","actor/name":"%s","context/ip":"%s","context/user_agent":"Mozilla/5.0 (X11; Linux x86_64) python-requests/2.32","metadata":{"attempt":%s,"region":"eu-central-1","request":"%s"}}',
        p.email, p.id, p.name, s.ip, s.g % 7, s.id), 'UTF8')
FROM (
    SELECT g, o, (g / 25) * slots + g % 25 - first AS position,
        $3::timestamptz + g * $4::interval AS received_at,
        $3::timestamptz + g * $4::interval - CASE
            WHEN h1 % 1000 = 0 THEN (h2 % 3000000) * interval '1 second'
            WHEN h1 % 100 < 3 THEN (h2 % 40000) * interval '1 second'
            ELSE (h2 % 5000) * interval '1 millisecond' END AS occurred_at,
        md5('id ' || g)::uuid AS id,
        CASE WHEN h1 % 20 < 13 THEN 'user' WHEN h1 % 20 < 18 THEN 'api_key' WHEN h1 % 20 = 18 THEN 'agent' ELSE 'service' END AS actor_type,
        least(298, floor(299 * power(u1, 3.2)))::int AS action_n, floor(10000 * power(u2, 2.5))::int AS person_n,
        CASE WHEN h2 % 1000 < 920 THEN 'success' WHEN h2 % 1000 < 970 THEN 'failure' WHEN h2 % 1000 < 995 THEN 'denied' ELSE 'unknown' END AS outcome,
        CASE WHEN h1 % 20 >= 13 AND h1 % 20 < 18 THEN 'gateway' WHEN h3 % 50 = 0 THEN 'otel-collector' ELSE 'platform' END AS stream,
        CASE WHEN h3 % 100 < 15 THEN '' ELSE 'ws_' || substr(md5(floor(40 * power(u3, 2))::text), 1, 10) END AS workspace,
        CASE WHEN h1 % 10 < 3 THEN 'res_hot' || h2 % 20 ELSE 'res_' || substr(md5((h2 % 200000)::text), 1, 16) END AS target_id,
        CASE WHEN h3 % 20 = 0 THEN ARRAY['project', 'prj_' || h1 % 500] ELSE '{}' END AS more_targets,
        CASE WHEN h2 % 5 = 0 THEN '198.51.100.7' ELSE '10.' || floor(4 * u3) || '.' || h1 % 100 || '.' || h3 % 200 END AS ip,
        'req_' || substr(md5((g / 2)::text || o), 1, 20) AS request_id
    FROM (
        SELECT g, o, slots, first,
            abs(hashint8extended(g, 11) % 1000000007) AS h1, abs(hashint8extended(g, 12) % 1000000007) AS h2,
            abs(hashint8extended(g, 13) % 1000000007) AS h3,
            abs(hashint8extended(g, 14) % 1000000007) / 1000000007.0::float8 AS u1,
            abs(hashint8extended(g, 15) % 1000000007) / 1000000007.0::float8 AS u2,
            abs(hashint8extended(g, 16) % 1000000007) / 1000000007.0::float8 AS u3
        FROM generate_series($1::bigint, $2::bigint - 1) AS g,
            LATERAL (SELECT * FROM (VALUES (0, 6, 0), (1, 5, 6), (2, 5, 11), (3, 5, 16), (4, 4, 21)) AS v (o, slots, first)
                     WHERE g % 25 >= v.first AND g % 25 < v.first + v.slots) AS v
    ) AS draws
) AS s
JOIN bench_people p ON p.o = s.o AND p.n = s.person_n
-- Action number 299 is the rare one: 24 rows in each organization, spread over the whole time.
JOIN bench_actions a ON a.n = CASE WHEN s.position % $5 = 7 THEN 299 ELSE s.action_n END,
LATERAL (SELECT convert_to(format(
    '{"action":"%s","actor":{"ref":"%s","type":"%s"},"id":"%s","occurred_at":"%s","origin":"audit.example/o/%s","outcome":"%s","received_at":"%s","request_id":"%s","sealed":"%s","source":"key:key_0011223344556677","stream":"%s","targets":[{"id":"%s","type":"%s"}],"v":1,"workspace":"%s"}',
    a.action, replace(p.ref::text, '-', ''), s.actor_type, s.id, to_char(s.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    md5('organization ' || s.o)::uuid, s.outcome, to_char(s.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), s.request_id,
    substr(encode(sha256(s.id::text::bytea), 'base64'), 1, 43), s.stream, s.target_id, a.target_type, s.workspace), 'UTF8') AS leaf) AS l

-- fill_subjects --
-- The subject directory of the synthetic persons.
INSERT INTO subjects (organization_id, ref, type, id)
SELECT md5('organization ' || o)::uuid, ref, 'user', id FROM bench_people

-- labels --
-- Every text a person is known by, lower case.
SELECT md5('organization ' || o)::uuid AS organization_id, ref, unnest(ARRAY[lower(id), lower(name), lower(email)]) AS label
FROM bench_people

-- fill_terms --
-- The dictionaries with their running counts.
INSERT INTO terms (organization_id, kind, value, events)
SELECT a.organization_id, v.kind, v.value, count(*)
FROM audit_logs a, LATERAL (VALUES ('action', action), ('workspace', workspace), ('target_type', target_type),
    ('stream', stream), ('outcome', outcome), ('verb', verb), ('actor_type', actor_type), ('actor_ref', actor_ref::text)) AS v (kind, value)
GROUP BY 1, 2, 3

-- fill_event_counts --
-- The rollup behind histograms, its rows in the order in which a log makes them.
INSERT INTO event_counts (organization_id, hour, success, failure, denied, unknown)
SELECT organization_id, date_trunc('hour', occurred_at, 'UTC'), count(*) FILTER (WHERE outcome = 'success'),
    count(*) FILTER (WHERE outcome = 'failure'), count(*) FILTER (WHERE outcome = 'denied'),
    count(*) FILTER (WHERE outcome = 'unknown')
FROM audit_logs GROUP BY 1, 2 ORDER BY 2, 1

-- fill_heads --
-- The size of each log, and where each of its months begins.
WITH heads AS (
    INSERT INTO log_head (organization_id, size, last_received_at)
    SELECT organization_id, max(position) + 1, max(received_at) FROM audit_logs GROUP BY 1
), names AS (
    INSERT INTO organizations (id, display_name) SELECT DISTINCT organization_id, 'Bench' FROM audit_logs
)
INSERT INTO log_months (organization_id, month, first_position)
SELECT organization_id, date_trunc('month', received_at, 'UTC'), min(position) FROM audit_logs GROUP BY 1, 2

-- fill_idempotency --
-- The way to one event by its id.
INSERT INTO idempotency (organization_id, id, position, received_at)
SELECT organization_id, id, position, received_at FROM audit_logs

-- indexes --
-- The statements that give a month's own table the indexes of audit_logs, in the same words.
SELECT CASE WHEN i.indisprimary
    THEN 'ALTER TABLE {table} ADD ' || (SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.conindid = i.indexrelid)
    ELSE regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX \S+ ON (ONLY )?\S+', 'CREATE INDEX ON {table}') END
FROM pg_index i WHERE i.indrelid = 'audit_logs'::regclass ORDER BY i.indisprimary DESC

-- months --
-- The months of one log, oldest first.
SELECT month AS start, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS next
FROM log_months WHERE organization_id = $1 ORDER BY 1

-- leaf_hashes --
-- The leaf hashes of some positions that were received in one month.
SELECT leaf_hash FROM audit_logs
WHERE organization_id = $1 AND received_at >= $2 AND received_at < $3 AND position >= $4 AND position < $5
ORDER BY position

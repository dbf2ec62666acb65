-- Tallystick's schema; read this first. PostgreSQL 15 or newer, no extension needed. schema_people.sql (members, roles,
-- sessions …) and schema_tenancy.sql (row-level security) are applied after it, in that order.
--
-- Every table is keyed by organization_id first, so that it can be distributed by it (Citus), and every
-- transaction touches one organization. audit_logs holds the truth (leaf, leaf_hash, seed, opening); its
-- other columns are projections for searching, which every verifier recomputes.

-- organizations: the tenants, and the switches an operator may set with plain SQL.
CREATE TABLE organizations (
    id           uuid PRIMARY KEY,
    display_name text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 256),
    config       jsonb NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(config) = 'object'),
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- audit_logs: one row an event, never changed. Partitioned by month of received_at, which is monotone
-- within a log, so that appending stays as fast behind ten million rows as into an empty table.
CREATE TABLE audit_logs (
    organization_id uuid        NOT NULL,
    received_at     timestamptz NOT NULL,  -- the server's clock, never smaller than the row before
    occurred_at     timestamptz NOT NULL,  -- the producer's claim
    position        bigint      NOT NULL CHECK (position >= 0),
    id              uuid        NOT NULL,
    actor_ref       uuid        NOT NULL,  -- pseudonym; subjects says who, until erased
    actor_type      text        NOT NULL,
    action          text        NOT NULL,
    verb            text        NOT NULL,
    outcome         text        NOT NULL,
    stream          text        NOT NULL,
    workspace       text        NOT NULL,  -- '' = organization level
    target_type     text        NOT NULL,  -- of the main target; '' = no target
    target_id       text        NOT NULL,
    more_targets    text[]      NOT NULL DEFAULT '{}',  -- type, id, type, id … of the other targets
    ip              text        NOT NULL,  -- canonical text, '' = unknown
    request_id      text        NOT NULL,
    leaf_hash       bytea       NOT NULL,
    seed            bytea       NOT NULL,
    leaf            bytea       NOT NULL,  -- the exact canonical bytes, hence never jsonb
    opening         bytea       NOT NULL,  -- JSON object: path → sealed value
    PRIMARY KEY (organization_id, position, received_at),
    -- A careless UPDATE fails at once; a careful one is found by every verifier.
    CONSTRAINT leaf_hash_is_of_leaf CHECK (leaf_hash = sha256('\x00'::bytea || leaf))
) PARTITION BY RANGE (received_at);

-- audit_facets: the terms one row is found by, as hashes that differ between organizations. The index on
-- it serves every exact filter; a query always compares the columns too, so a collision costs only time.
-- Its body holds no sub-select, so that PostgreSQL inlines it: 0.9 us a row on append, else 7. The other one is
-- written in plpgsql so that PostgreSQL does not parse it at each append only to find that it cannot be inlined.
CREATE FUNCTION audit_more_facets(organization_id uuid, more_targets text[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (
        SELECT array_agg(hashtextextended(t, uuid_hash_extended(organization_id, 9 - n % 2)))
        FROM unnest(more_targets) WITH ORDINALITY AS u(t, n));
END $$;

CREATE FUNCTION audit_facets(
    organization_id uuid, actor_ref uuid, actor_type text, action text, verb text, outcome text, stream text,
    workspace text, target_type text, target_id text, more_targets text[], ip text, request_id text
) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[
        uuid_hash_extended(actor_ref, uuid_hash_extended(organization_id, 1)),
        hashtextextended(actor_type, uuid_hash_extended(organization_id, 2)),
        hashtextextended(action, uuid_hash_extended(organization_id, 3)),
        hashtextextended(verb, uuid_hash_extended(organization_id, 4)),
        hashtextextended(outcome, uuid_hash_extended(organization_id, 5)),
        hashtextextended(stream, uuid_hash_extended(organization_id, 6)),
        hashtextextended(workspace, uuid_hash_extended(organization_id, 7)),
        hashtextextended(target_type, uuid_hash_extended(organization_id, 8)),
        hashtextextended(target_id, uuid_hash_extended(organization_id, 9)),
        hashtextextended(ip, uuid_hash_extended(organization_id, 10)),
        hashtextextended(request_id, uuid_hash_extended(organization_id, 11))
    ] || CASE WHEN more_targets = '{}' THEN '{}'::bigint[]
         ELSE public.audit_more_facets(organization_id, more_targets) END
$$;

CREATE INDEX audit_logs_by_time ON audit_logs (organization_id, occurred_at, position);
CREATE INDEX audit_logs_by_facet ON audit_logs USING gin (
    audit_facets(organization_id, actor_ref, actor_type, action, verb, outcome, stream, workspace,
                 target_type, target_id, more_targets, ip, request_id)
) WITH (fastupdate = on, gin_pending_list_limit = 512);

-- refuse_change: nobody changes the log, not even its owner; retention and erasure have a door of their own.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed this way', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Use retention or erasure of Tallystick, which leave a record in the log.';
END $$;

-- guard_audit_logs: the one door. The keeper may take rows, or sealed values of rows, that a removal written in this very
-- transaction names (schema_keeping.sql); at its commit the record of it must stand in the log.
CREATE FUNCTION guard_audit_logs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'tallystick_keeper' AND EXISTS (
        SELECT FROM public.removals r WHERE r.organization_id = OLD.organization_id
            AND r.transaction = pg_current_xact_id() AND (r.kind <> 'fields') = (TG_OP = 'DELETE')
            AND OLD.position <@ r.positions) THEN
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        ELSIF (NEW.organization_id, NEW.position, NEW.received_at, NEW.leaf_hash, NEW.leaf)
            = (OLD.organization_id, OLD.position, OLD.received_at, OLD.leaf_hash, OLD.leaf) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of % are never changed or removed this way', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Use retention or erasure of Tallystick, which leave a record in the log.';
END $$;

CREATE TRIGGER audit_logs_never_change BEFORE UPDATE OR DELETE ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION guard_audit_logs();
CREATE TRIGGER audit_logs_never_truncate BEFORE TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- ensure_audit_logs_month: makes the partition of the month that holds `at`; runs with the owner's rights.
CREATE FUNCTION ensure_audit_logs_month(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day timestamptz := date_trunc('month', at, 'UTC');
    part text := 'audit_logs_' || to_char(first_day AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || part) IS NOT NULL THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(part, 7));
    -- Whoever held the lock may have made it. An advisory lock brings no news to the name cache; a query does.
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF audit_logs FOR VALUES FROM (%L) TO (%L)',
                   part, first_day, (first_day AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
    -- TRUNCATE triggers are not inherited by partitions.
    EXECUTE format('CREATE TRIGGER audit_logs_never_truncate BEFORE TRUNCATE ON %I
                    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
END $$;

-- log_months: where each month of a log begins, so that a read by position knows its partition.
CREATE TABLE log_months (
    organization_id uuid        NOT NULL,
    month           timestamptz NOT NULL,  -- first instant of the month, UTC
    first_position  bigint      NOT NULL,
    PRIMARY KEY (organization_id, month)
);

-- idempotency: the position of each event id, for as long as the row exists; also the way to one event.
CREATE TABLE idempotency (
    organization_id uuid        NOT NULL,
    id              uuid        NOT NULL,
    position        bigint      NOT NULL,
    received_at     timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- log_head: the only row an append locks. The stored frontier must reproduce the root of the stored note.
CREATE TABLE log_head (
    organization_id  uuid        PRIMARY KEY,
    size             bigint      NOT NULL DEFAULT 0,
    frontier         bytea       NOT NULL DEFAULT '',  -- subtree roots of the right edge, 32 bytes each, largest first
    last_received_at timestamptz NOT NULL DEFAULT 'epoch',
    note             text        NOT NULL DEFAULT '',  -- the last signed checkpoint; '' = none yet
    note_at          timestamptz NOT NULL DEFAULT 'epoch',
    subject_epoch    bigint      NOT NULL DEFAULT 0    -- raised by every erasure: servers forget the refs they remember
) WITH (fillfactor = 10);

-- log_tiles: full tiles of 256 hashes (C2SP tlog-tiles), immutable once written.
CREATE TABLE log_tiles (
    organization_id uuid     NOT NULL,
    level           smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index           bigint   NOT NULL,
    hashes          bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (organization_id, level, index)
);
CREATE TRIGGER log_tiles_never_change BEFORE UPDATE OR DELETE ON log_tiles
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_tiles_never_truncate BEFORE TRUNCATE ON log_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- log_checkpoints: retained signed checkpoints, one a minute and thinned with age.
CREATE TABLE log_checkpoints (
    organization_id uuid        NOT NULL,
    size            bigint      NOT NULL,
    signed_at       timestamptz NOT NULL,
    note            text        NOT NULL,
    PRIMARY KEY (organization_id, size, signed_at)
);

-- subjects: the subject directory; who is behind each pseudonymous ref, until erased.
CREATE TABLE subjects (
    organization_id uuid NOT NULL,
    ref             uuid NOT NULL,
    type            text NOT NULL,
    id              text NOT NULL,  -- '' where the actor type needs none
    first_seen      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, ref),
    UNIQUE (organization_id, type, id)
);

-- subject_labels: every id, name and e-mail a subject was seen with, lower case, for substring search;
-- trigrams (numbers of its pieces, store/trigrams.py) stand in for pg_trgm, which the embedded server does not have.
CREATE TABLE subject_labels (
    organization_id uuid   NOT NULL,
    ref             uuid   NOT NULL,
    label           text   NOT NULL,
    trigrams        int[]  NOT NULL
);
-- Unique by hash: a name of 1,024 characters is too long for an entry of a B-tree.
CREATE UNIQUE INDEX subject_labels_once ON subject_labels
    (organization_id, ref, hashtextextended(label, 1), hashtextextended(label, 2));
-- New labels are sorted into the index in lots: one by one would cost five times as much. A search reads what waits.
CREATE INDEX subject_labels_by_trigram ON subject_labels USING gin (trigrams)
    WITH (fastupdate = on, gin_pending_list_limit = 256);

-- terms: the dictionaries; every distinct action, workspace, target type … once, with how many events have it.
CREATE TABLE terms (
    organization_id uuid     NOT NULL,
    kind            text     NOT NULL CHECK (kind IN
        ('action', 'workspace', 'target_type', 'stream', 'outcome', 'verb', 'actor_type', 'actor_ref')),
    value           text     NOT NULL,
    events          bigint   NOT NULL,
    PRIMARY KEY (organization_id, kind, value)
) WITH (fillfactor = 50);

-- event_counts: the rollup behind histograms; events by hour of occurred_at, a column for each outcome.
CREATE TABLE event_counts (
    organization_id uuid        NOT NULL,
    hour            timestamptz NOT NULL,
    success         bigint      NOT NULL,
    failure         bigint      NOT NULL,
    denied          bigint      NOT NULL,
    unknown         bigint      NOT NULL,
    PRIMARY KEY (organization_id, hour)
) WITH (fillfactor = 50);

-- quarantine: events that broke their action's registered schema; the event itself is in the log as usual.
CREATE TABLE quarantine (
    organization_id uuid   NOT NULL,
    position        bigint NOT NULL,
    action          text   NOT NULL,
    violations      jsonb  NOT NULL,
    released_by     bigint,  -- position of the event that recorded the successful re-processing
    PRIMARY KEY (organization_id, position)
);

-- registered_actions: an organization's own actions, each with a JSON Schema and a version.
CREATE TABLE registered_actions (
    organization_id uuid    NOT NULL,
    name            text    NOT NULL,
    version         integer NOT NULL,
    declaration     jsonb   NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, name, version)
);

-- api_keys: SHA-256 of each key, never the key. The hash is of 256 random bits, so it needs no salt.
CREATE TABLE api_keys (
    organization_id uuid   NOT NULL,
    id              text   NOT NULL,
    name            text   NOT NULL,
    prefix          text   NOT NULL,  -- first characters, for people to recognise the key
    sha256          bytea  NOT NULL CHECK (octet_length(sha256) = 32),
    permissions     text[] NOT NULL,
    workspace       text,             -- bound to one workspace; null = the whole organization
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    last_used_at    timestamptz,
    last_used_ip    text,
    created_by      text,             -- id of who made it: a key, a member, 'operator'; null = the server itself
    rotated_from    text,             -- the key it takes the place of
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX api_keys_by_hash ON api_keys (sha256);

-- audit_row: one event on its way into audit_logs: all that does not depend on its place in the log.
CREATE TYPE audit_row AS (
    occurred_at timestamptz, id uuid, actor_ref uuid, actor_type text, action text, verb text, outcome text,
    stream text, workspace text, target_type text, target_id text, more_targets text[], ip text, request_id text,
    leaf_hash bytea, seed bytea, leaf bytea, opening bytea
);

-- begin_append: takes the lock of one log, made at its first event, and tells what an append must know.
-- Each statement below sees everything that was committed before the lock was granted: what it finds is exact.
--   known  ids that the log holds already; clash  a new subject got another ref from someone else meanwhile
CREATE FUNCTION begin_append(
    organization uuid, new_ids uuid[], new_refs uuid[], ref_types text[], ref_ids text[],
    OUT at_size bigint, OUT at_frontier bytea, OUT at_received timestamptz, OUT at_note text, OUT at_epoch bigint,
    OUT known uuid[], OUT clash boolean
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    -- An acknowledged event is on disk, whatever the login's default says.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    FOR attempt IN 1..2 LOOP
        SELECT h.size, h.frontier, h.last_received_at, h.note, h.subject_epoch
            INTO at_size, at_frontier, at_received, at_note, at_epoch
            FROM log_head h WHERE h.organization_id = organization FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO log_head (organization_id) VALUES (organization) ON CONFLICT DO NOTHING;
    END LOOP;
    SELECT coalesce(array_agg(i.id), '{}') INTO known
        FROM idempotency i WHERE i.organization_id = organization AND i.id = ANY (new_ids);
    clash := false;
    IF cardinality(new_refs) > 0 THEN
        clash := EXISTS (
            SELECT FROM unnest(new_refs, ref_types, ref_ids) AS n (ref, type, id)
            JOIN subjects s ON s.organization_id = organization AND s.type = n.type AND s.id = n.id
            WHERE s.ref <> n.ref);
    END IF;
END $$;

-- finish_append: the rows of an append and everything that goes with them, the head last. The caller holds the
-- lock of begin_append. Rows come as one array of audit_row and are written by INSERT: PostgreSQL refuses COPY into a
-- table whose rows a policy guards.
CREATE FUNCTION finish_append(
    organization uuid, old_size bigint, received timestamptz, new_rows audit_row[],
    new_size bigint, new_frontier bytea, new_note text, signed timestamptz, keep_note boolean, new_month timestamptz,
    tile_levels smallint[], tile_indexes bigint[], tile_hashes bytea[],
    term_kinds text[], term_values text[], term_events bigint[],
    hours timestamptz[], hour_outcomes text[], hour_events bigint[],
    new_refs uuid[], ref_types text[], ref_ids text[],
    label_refs uuid[], labels text[], label_trigrams text[]
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    IF new_size <> old_size + cardinality(new_rows) THEN
        RAISE EXCEPTION 'a log of % rows and % more is not one of %', old_size, cardinality(new_rows), new_size;
    END IF;
    INSERT INTO audit_logs (
        organization_id, received_at, position, occurred_at, id, actor_ref, actor_type, action, verb, outcome, stream,
        workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, opening
    ) SELECT
        organization, received, old_size + u.n - 1, u.occurred_at, u.id, u.actor_ref, u.actor_type, u.action, u.verb,
        u.outcome, u.stream, u.workspace, u.target_type, u.target_id, u.more_targets, u.ip, u.request_id,
        u.leaf_hash, u.seed, u.leaf, u.opening
    FROM unnest(new_rows) WITH ORDINALITY AS u (
        occurred_at, id, actor_ref, actor_type, action, verb, outcome, stream, workspace, target_type, target_id,
        more_targets, ip, request_id, leaf_hash, seed, leaf, opening, n
    );
    INSERT INTO idempotency (organization_id, id, position, received_at)
        SELECT organization, u.id, old_size + u.n - 1, received FROM unnest(new_rows) WITH ORDINALITY AS u (
            occurred_at, id, actor_ref, actor_type, action, verb, outcome, stream, workspace, target_type, target_id,
            more_targets, ip, request_id, leaf_hash, seed, leaf, opening, n
        );
    IF cardinality(tile_levels) > 0 THEN
        INSERT INTO log_tiles (organization_id, level, index, hashes)
            SELECT organization, * FROM unnest(tile_levels, tile_indexes, tile_hashes);
    END IF;
    INSERT INTO terms AS t (organization_id, kind, value, events)
        SELECT organization, * FROM unnest(term_kinds, term_values, term_events)
        ON CONFLICT (organization_id, kind, value) DO UPDATE SET events = t.events + excluded.events;
    INSERT INTO event_counts AS c (organization_id, hour, success, failure, denied, unknown)
        SELECT organization, u.hour,
            coalesce(sum(u.events) FILTER (WHERE u.outcome = 'success'), 0),
            coalesce(sum(u.events) FILTER (WHERE u.outcome = 'failure'), 0),
            coalesce(sum(u.events) FILTER (WHERE u.outcome = 'denied'), 0),
            coalesce(sum(u.events) FILTER (WHERE u.outcome = 'unknown'), 0)
        FROM unnest(hours, hour_outcomes, hour_events) AS u (hour, outcome, events) GROUP BY u.hour
        ON CONFLICT (organization_id, hour) DO UPDATE SET success = c.success + excluded.success,
            failure = c.failure + excluded.failure, denied = c.denied + excluded.denied,
            unknown = c.unknown + excluded.unknown;
    IF cardinality(new_refs) > 0 THEN
        INSERT INTO subjects (organization_id, ref, type, id)
            SELECT organization, * FROM unnest(new_refs, ref_types, ref_ids)
            ON CONFLICT (organization_id, type, id) DO NOTHING;
    END IF;
    IF cardinality(label_refs) > 0 THEN
        INSERT INTO subject_labels (organization_id, ref, label, trigrams)
            SELECT organization, u.ref, u.label, u.trigrams::int[]
            FROM unnest(label_refs, labels, label_trigrams) AS u (ref, label, trigrams)
            ON CONFLICT DO NOTHING;
    END IF;
    IF new_month IS NOT NULL THEN
        INSERT INTO log_months (organization_id, month, first_position) VALUES (organization, new_month, old_size);
    END IF;
    IF keep_note THEN
        INSERT INTO log_checkpoints (organization_id, size, signed_at, note)
            VALUES (organization, new_size, signed, new_note) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE log_head SET size = new_size, frontier = new_frontier, last_received_at = received, note = new_note,
        note_at = signed WHERE organization_id = organization AND size = old_size;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the head of log % is not at size %', organization, old_size;
    END IF;
END $$;

-- append_events: a whole append in one round trip, done only if the log is exactly where the caller
-- thinks it is, holds none of the ids and nothing clashes; otherwise nothing is changed and the caller is told why.
-- It is a transaction of its own, so that it says itself whose rows it may touch, and takes on the role `acting` unless
-- that is empty: a login that owns the tables is bound by no policy.
CREATE FUNCTION append_events(
    organization uuid, old_size bigint, old_frontier bytea, old_note text, old_epoch bigint,
    received timestamptz, new_ids uuid[], new_rows audit_row[],
    new_size bigint, new_frontier bytea, new_note text, signed timestamptz, keep_note boolean, new_month timestamptz,
    tile_levels smallint[], tile_indexes bigint[], tile_hashes bytea[],
    term_kinds text[], term_values text[], term_events bigint[],
    hours timestamptz[], hour_outcomes text[], hour_events bigint[],
    new_refs uuid[], ref_types text[], ref_ids text[],
    label_refs uuid[], labels text[], label_trigrams text[], acting text,
    OUT appended boolean, OUT known uuid[]
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    head record;
BEGIN
    IF acting <> '' THEN
        PERFORM set_config('role', acting, true);
    END IF;
    PERFORM set_config('tallystick.organization', organization::text, true);
    head := begin_append(organization, new_ids, new_refs, ref_types, ref_ids);
    known := head.known;
    appended := head.at_size = old_size AND head.at_frontier = old_frontier AND head.at_note = old_note
        AND head.at_epoch = old_epoch AND head.at_received <= received AND known = '{}' AND NOT head.clash;
    IF NOT appended THEN RETURN; END IF;
    PERFORM finish_append(
        organization, old_size, received, new_rows, new_size, new_frontier, new_note, signed, keep_note, new_month,
        tile_levels, tile_indexes, tile_hashes, term_kinds, term_values, term_events, hours, hour_outcomes,
        hour_events, new_refs, ref_types, ref_ids, label_refs, labels, label_trigrams);
END $$;

-- audit_events: the log in readable columns, for people who use SQL.
CREATE VIEW audit_events WITH (security_invoker = true) AS
SELECT
    a.organization_id, a.position, a.id, a.occurred_at, a.received_at, a.action, a.verb, a.outcome, a.stream,
    nullif(a.workspace, '') AS workspace, a.actor_type,
    o.values ->> 'actor/id' AS actor_id, o.values ->> 'actor/name' AS actor_name,
    o.values ->> 'actor/email' AS actor_email,
    nullif(a.target_type, '') AS target_type, nullif(a.target_id, '') AS target_id,
    o.values ->> 'targets/0/name' AS target_name,
    nullif(a.ip, '') AS ip, nullif(a.request_id, '') AS request_id,
    o.values -> 'before' AS before, o.values -> 'after' AS after, o.values -> 'metadata' AS metadata,
    o.values -> 'error' AS error
FROM audit_logs a, LATERAL (SELECT convert_from(a.opening, 'UTF8')::json AS values) o;

-- saved_views: searches people keep under a name, for themselves or shared with the organization; `address` holds the
-- parameters of the events page, read again each time, so that a filter that is gone is noticed.
CREATE TABLE saved_views (
    organization_id uuid    NOT NULL,
    id              text    NOT NULL,  -- viw_…
    owner_id        text    NOT NULL,  -- the principal who keeps it
    name            text    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    address         text    NOT NULL CHECK (length(address) <= 8000),
    shared          boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id)
);

-- default_views: which view opens first for whom; view_id may be that of a built-in one.
CREATE TABLE default_views (
    organization_id uuid NOT NULL,
    owner_id        text NOT NULL,
    view_id         text NOT NULL,
    PRIMARY KEY (organization_id, owner_id)
);

-- Grants: nobody who writes can rewrite. The four roles are made by store/migrate.py, being cluster-wide.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO tallystick_reader, tallystick_writer, tallystick_keeper;
GRANT INSERT ON audit_logs, idempotency, log_tiles, log_months, log_checkpoints, subjects, subject_labels,
    terms, event_counts, quarantine, organizations, log_head, registered_actions, api_keys TO tallystick_writer;
GRANT UPDATE ON log_head, terms, event_counts, organizations, api_keys TO tallystick_writer;
GRANT UPDATE (released_by) ON quarantine TO tallystick_writer;
GRANT DELETE ON log_checkpoints TO tallystick_keeper;
GRANT INSERT, UPDATE, DELETE ON saved_views, default_views TO tallystick_writer;
REVOKE ALL ON FUNCTION ensure_audit_logs_month(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_audit_logs_month(timestamptz) TO tallystick_writer, tallystick_keeper;

-- instance: the name of this installation in the origin of every log; one row, written at the first start.
CREATE TABLE instance (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    name     text NOT NULL
);
GRANT SELECT ON instance TO tallystick_reader, tallystick_keeper;
GRANT SELECT, INSERT ON instance TO tallystick_writer;

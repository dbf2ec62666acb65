-- Keeping and removing: how long events are kept, what a court holds, what was removed and by which record of the log.
-- Applied after schema.sql. Only tallystick_keeper removes, and only in a transaction that also appends the record.

-- retention_policies: every rule there ever was, each version as the event at `position` recorded it. The version in
-- force is the last one recorded whose time has come. A row that several rules are for is kept as long as the longest.
CREATE TABLE retention_policies (
    organization_id uuid        NOT NULL,
    rule            text        NOT NULL,  -- rtp_…
    position        bigint      NOT NULL,
    stream          text,                  -- the rule of one stream, or of one workspace; both null = of everything else
    workspace       text,
    class           text        NOT NULL,
    days            integer     CHECK (days BETWEEN 1 AND 36500),  -- null = for ever
    ended           boolean     NOT NULL DEFAULT false,  -- from then on the rule of everything else counts
    recorded_at     timestamptz NOT NULL,
    effective_at    timestamptz NOT NULL,
    PRIMARY KEY (organization_id, rule, position),
    CONSTRAINT one_thing_at_a_time CHECK (stream IS NULL OR workspace IS NULL)
);

-- legal_holds: what must not be removed or erased, until released. Each filter that is given must fit.
CREATE TABLE legal_holds (
    organization_id   uuid        NOT NULL,
    id                text        NOT NULL,  -- hld_…
    reason            text        NOT NULL,
    actor             text,                  -- id, name or e-mail of whoever acted, or on whose behalf
    target            text,                  -- id of a target
    workspace         text,
    since             timestamptz,           -- occurred or received in [since, until)
    until             timestamptz,
    set_position      bigint      NOT NULL,  -- of the event that set it
    set_at            timestamptz NOT NULL,
    released_position bigint,
    released_at       timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- removals: which positions an event of the log has taken away: rows whole, or fields of them. Written in the
-- transaction that removes, before anything is; the position of its event is filled in once that is appended.
CREATE TABLE removals (
    organization_id uuid           NOT NULL,
    id              uuid           NOT NULL,  -- that of the event
    kind            text           NOT NULL CHECK (kind IN ('retention', 'erasure', 'fields')),
    positions       int8multirange NOT NULL CHECK (NOT isempty(positions)),
    first_position  bigint         NOT NULL GENERATED ALWAYS AS (lower(positions)) STORED,
    end_position    bigint         NOT NULL GENERATED ALWAYS AS (upper(positions)) STORED,
    position        bigint,
    recorded_at     timestamptz,
    transaction     xid8           NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX removals_by_place ON removals (organization_id, end_position, first_position);
CREATE INDEX removals_by_transaction ON removals (organization_id, transaction);

-- guard_removals: what was removed stays on record; only the place of its event may be filled in, once.
CREATE FUNCTION guard_removals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.position IS NULL AND OLD.transaction = pg_current_xact_id()
        AND (NEW.organization_id, NEW.id, NEW.kind, NEW.positions, NEW.transaction)
            = (OLD.organization_id, OLD.id, OLD.kind, OLD.positions, OLD.transaction) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the record of a removal is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER removals_never_change BEFORE UPDATE OR DELETE ON removals
    FOR EACH ROW EXECUTE FUNCTION guard_removals();
CREATE TRIGGER removals_never_truncate BEFORE TRUNCATE ON removals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- check_removal_recorded: at the commit of a removal its event stands in the log, appended by this very transaction.
CREATE FUNCTION check_removal_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.removals r JOIN public.audit_logs a
            ON a.organization_id = r.organization_id AND a.position = r.position AND a.received_at = r.recorded_at
        WHERE r.organization_id = NEW.organization_id AND r.id = NEW.id AND r.transaction = pg_current_xact_id()
            AND a.id = r.id AND a.xmin = pg_current_xact_id()::xid AND a.stream = 'tallystick'
            AND a.action = CASE r.kind WHEN 'retention' THEN 'retention.pruned' ELSE 'privacy.erased' END) THEN
        RAISE EXCEPTION 'nothing is removed without a record in the log' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER removals_are_recorded AFTER INSERT ON removals DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_removal_recorded();

-- remove_month: takes the rows that the removals of this transaction name out of one month, by writing those that stay
-- anew and dropping the rest as a whole. Runs with the owner's rights; gives up after `patience` rather than hold up
-- appends and readers.
CREATE FUNCTION remove_month(organization uuid, month timestamptz, patience interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part text := 'audit_logs_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
    kept text := part || '_kept';
    gone int8multirange := (SELECT range_agg(r.positions) FROM removals r WHERE r.organization_id = organization
        AND r.transaction = pg_current_xact_id() AND r.kind <> 'fields');
    some_stay boolean;
BEGIN
    IF gone IS NULL THEN
        RAISE EXCEPTION 'no record of a removal in this transaction' USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', kept, part);
    EXECUTE format('INSERT INTO %I SELECT a.* FROM %I a WHERE NOT (a.organization_id = $1 AND a.position <@ $2)',
                   kept, part) USING organization, gone;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', kept) INTO some_stay;
    PERFORM set_config('lock_timeout', extract(milliseconds FROM patience)::integer::text, true);
    LOCK TABLE audit_logs IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('DROP TABLE %I', part);
    IF NOT some_stay THEN
        EXECUTE format('DROP TABLE %I', kept);
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %I RENAME TO %I', kept, part);
    EXECUTE format('ALTER TABLE audit_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, month, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
    -- TRUNCATE triggers are not inherited by partitions.
    EXECUTE format('CREATE TRIGGER audit_logs_never_truncate BEFORE TRUNCATE ON %I
                    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
END $$;

-- erasures: who was or is being erased, by pseudonym; a run that broke off goes on from here.
CREATE TABLE erasures (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- ers_…
    refs            uuid[]      NOT NULL,
    events          bigint      NOT NULL DEFAULT 0,
    removed         bigint      NOT NULL DEFAULT 0,
    left_in_clear   bigint      NOT NULL DEFAULT 0,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- approvals: acts that need a second person, asked for and decided.
CREATE TABLE approvals (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- apr_…
    act             text        NOT NULL,
    request         jsonb       NOT NULL CHECK (jsonb_typeof(request) = 'object'),
    requested_by    text        NOT NULL,
    requested_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    decision        text        CHECK (decision IN ('approved', 'refused')),
    decided_by      text,
    decided_at      timestamptz,
    used_at         timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- leases: what only one server at a time does, by name, and until when the holder is taken to be alive.
CREATE TABLE leases (
    name   text        PRIMARY KEY,
    holder text        NOT NULL,
    until  timestamptz NOT NULL
);

-- Grants. The keeper appends the record of what it removes, so it may do what the writer's append does.
GRANT SELECT ON retention_policies, legal_holds, removals, erasures, approvals, leases
    TO tallystick_reader, tallystick_writer, tallystick_keeper;
GRANT INSERT ON audit_logs, idempotency, log_tiles, log_months, log_checkpoints, subjects, subject_labels, terms,
    event_counts, log_head, retention_policies, legal_holds, removals, erasures, approvals, leases TO tallystick_keeper;
GRANT UPDATE ON log_head, terms, event_counts, leases TO tallystick_keeper;
GRANT UPDATE (position, recorded_at) ON removals TO tallystick_keeper;
GRANT UPDATE (released_position, released_at) ON legal_holds TO tallystick_keeper;
GRANT UPDATE (events, removed, left_in_clear, finished_at) ON erasures TO tallystick_keeper;
GRANT UPDATE (decision, decided_by, decided_at, used_at, request) ON approvals TO tallystick_keeper;
GRANT UPDATE (opening, seed, ip, target_type, target_id, more_targets) ON audit_logs TO tallystick_keeper;
GRANT DELETE ON audit_logs, idempotency, terms, event_counts, subjects, subject_labels TO tallystick_keeper;
GRANT UPDATE (config) ON organizations TO tallystick_keeper;
GRANT DELETE ON quarantine TO tallystick_keeper;
REVOKE ALL ON FUNCTION remove_month(uuid, timestamptz, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION remove_month(uuid, timestamptz, interval) TO tallystick_keeper;

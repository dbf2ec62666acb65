-- Row-level security: the second fence between organizations. Applied last, so that no table can be forgotten. Every
-- statement names its organization by itself; should one ever forget to, these policies find it no row.
--
-- A transaction says whose rows it may touch: SET LOCAL tallystick.organization = '<uuid>', in the round trip of its BEGIN
-- (store/connect.py). '*' is the server's own work over all organizations; nothing said = no row. The owner of the
-- tables, that is people who use SQL, is not bound; a server that signs in as the owner takes on a role that is, in the
-- same round trip. See docs/decisions/row-level-security.md.

CREATE FUNCTION current_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN current_setting('tallystick.organization', true) NOT IN ('', '*')
        THEN current_setting('tallystick.organization', true)::uuid END
$$;
CREATE FUNCTION every_organization() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('tallystick.organization', true) = '*', false)
$$;

-- The sub-selects make each setting read once for a statement, not once for a row.
DO $$
DECLARE
    fenced text;
BEGIN
    FOR fenced IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND a.attname = 'organization_id' AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', fenced);
        EXECUTE format('CREATE POLICY own_organization ON %I USING (organization_id = (SELECT current_organization())
            OR (SELECT every_organization()))', fenced);
    END LOOP;
END $$;
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON organizations
    USING (id = (SELECT current_organization()) OR (SELECT every_organization()));

-- find_subjects: the refs of these subjects, as far as they are known, outside any transaction: one round trip. `acting`
-- as in append_events.
CREATE FUNCTION find_subjects(organization uuid, subject_types text[], subject_ids text[], acting text)
RETURNS TABLE (type text, id text, ref uuid) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
BEGIN
    IF acting <> '' THEN
        PERFORM set_config('role', acting, true);
    END IF;
    PERFORM set_config('tallystick.organization', organization::text, true);
    RETURN QUERY SELECT s.type, s.id, s.ref FROM unnest(subject_types, subject_ids) AS n (type, id)
        JOIN subjects s ON s.organization_id = organization AND s.type = n.type AND s.id = n.id;
END $$;

-- audit_candidates, subject_label_candidates: where a search looks for rows by an index that a policy would switch off,
-- because PostgreSQL trusts few operators not to tell what they saw (GIN's are not among them). Each holds the fence itself,
-- and shows what rows are found and ordered by, never their content: that is fetched from the fenced table.
CREATE VIEW audit_candidates AS
SELECT organization_id, received_at, occurred_at, position, actor_ref, actor_type, action, verb, outcome, stream, workspace,
    target_type, target_id, more_targets, ip, request_id
FROM audit_logs WHERE (organization_id = (SELECT current_organization())) IS TRUE;

CREATE VIEW subject_label_candidates AS
SELECT organization_id, ref, label, trigrams FROM subject_labels
WHERE (organization_id = (SELECT current_organization())) IS TRUE;

GRANT SELECT ON audit_candidates, subject_label_candidates TO tallystick_reader, tallystick_writer, tallystick_keeper;

-- Where an administrator has closed the schema to everybody, our roles still reach it.
GRANT USAGE ON SCHEMA public TO tallystick_reader, tallystick_writer, tallystick_keeper;

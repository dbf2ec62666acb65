-- Parameters are named, `:name`; store/statement.py numbers them. Texts are lower case.

-- people --
-- The subjects of this id (and type), or known by this label.
SELECT s.ref, s.type, s.id FROM subjects s WHERE s.organization_id = :organization
    AND (:type::text IS NULL OR s.type = :type)
    AND (s.id = ANY (:ids::text[]) OR s.ref IN (
        SELECT l.ref FROM subject_labels l WHERE l.organization_id = :organization AND l.label = ANY (:labels::text[])))

-- labels --
-- Everything these subjects are known by.
SELECT DISTINCT label FROM subject_labels WHERE organization_id = :organization AND ref = ANY (:refs::uuid[])

-- mentions --
-- Rows of [first, end) that are by these subjects, on their behalf, or mention one of the texts.
SELECT a.position, a.received_at, a.leaf, a.opening, a.seed FROM audit_logs a
WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
    AND a.received_at >= :received_from AND a.received_at < :received_to
    AND (a.actor_ref = ANY (:refs::uuid[])
        OR EXISTS (SELECT FROM unnest(:marks::bytea[]) AS m (mark) WHERE position(m.mark IN a.leaf) > 0)
        OR EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written)
            WHERE position(t.written IN lower(convert_from(a.opening, 'UTF8'))) > 0
                OR position(t.written IN lower(convert_from(a.leaf, 'UTF8'))) > 0))
ORDER BY a.position

-- by_id --
-- Rows of these events.
SELECT a.position, a.received_at, a.leaf, a.opening, a.seed
FROM idempotency i JOIN audit_logs a
    ON a.organization_id = :organization AND a.position = i.position AND a.received_at = i.received_at
WHERE i.organization_id = :organization AND i.id = ANY (:ids::uuid[]) ORDER BY a.position

-- rewrite --
-- Put in place of sealed values what is left of them, where nobody else has meanwhile.
UPDATE audit_logs a SET opening = u.opening, seed = u.seed, ip = u.ip, target_type = u.target_type,
    target_id = u.target_id, more_targets = u.more_targets::text[]
FROM unnest(:positions::bigint[], :received::timestamptz[], :old_seeds::bytea[], :openings::bytea[], :seeds::bytea[],
    :ips::text[], :target_types::text[], :target_ids::text[], :more_targets::text[])
    AS u (position, received_at, old_seed, opening, seed, ip, target_type, target_id, more_targets)
WHERE a.organization_id = :organization AND a.position = u.position AND a.received_at = u.received_at
    AND a.seed = u.old_seed RETURNING a.position

-- forget_subjects --
-- Nobody is behind these pseudonyms any more.
DELETE FROM subjects WHERE organization_id = :organization AND ref = ANY (:refs::uuid[])

-- forget_labels --
-- And nobody is found by what they were known by.
DELETE FROM subject_labels WHERE organization_id = :organization AND ref = ANY (:refs::uuid[])

-- raise_epoch --
-- Servers forget the pseudonyms that they remember.
UPDATE log_head SET subject_epoch = subject_epoch + 1 WHERE organization_id = :organization

-- forget_members --
-- The members of these ids or addresses, as nobody.
UPDATE members SET email = 'erased-' || id || '@erased.invalid', display_name = 'Erased', password_hash = NULL,
    totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = NULL, recovery_code_hashes = '{}', oidc_issuer = NULL,
    oidc_subject = NULL, scim_external_id = NULL, scim_user_name = NULL, active = false,
    access_version = access_version + 1, removed_at = coalesce(removed_at, :now)
WHERE organization_id = :organization AND (id = ANY (:ids::text[]) OR email = ANY (:texts::text[])) RETURNING id

-- forget_sessions --
-- Their sessions, ended and from nowhere.
UPDATE sessions SET ip = NULL, user_agent = NULL, revoked_at = coalesce(revoked_at, :now)
WHERE organization_id = :organization AND member_id = ANY (:members::text[])

-- forget_links --
-- Their links.
DELETE FROM one_time_links WHERE organization_id = :organization AND member_id = ANY (:members::text[])

-- forget_entries --
-- What their directory said of them, or said with their names.
DELETE FROM directory_entries WHERE organization_id = :organization AND (id = ANY (:members::text[])
    OR EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written) WHERE position(t.written IN lower(attributes::text)) > 0))

-- forget_default_views --
-- Which view they saw first.
DELETE FROM default_views WHERE organization_id = :organization AND owner_id = ANY (:members::text[])

-- forget_views --
-- Their saved views, and those that ask for them.
DELETE FROM saved_views WHERE organization_id = :organization AND (owner_id = ANY (:members::text[])
    OR EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written)
        WHERE position(t.written IN lower(address)) > 0 OR position(t.written IN lower(name)) > 0))

-- forget_tokens --
-- Viewers' tokens that name them.
UPDATE viewer_tokens SET name = 'erased', filters = '{}', revoked_at = coalesce(revoked_at, :now)
WHERE organization_id = :organization AND EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written)
    WHERE position(t.written IN lower(name)) > 0 OR position(t.written IN lower(filters::text)) > 0)

-- forget_key_names --
-- Names of keys that name them.
UPDATE api_keys SET name = 'erased' WHERE organization_id = :organization
    AND EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written) WHERE position(t.written IN lower(name)) > 0)

-- forget_holds --
-- Released holds that name them.
UPDATE legal_holds SET actor = NULL, target = NULL, reason = 'erased' WHERE organization_id = :organization
    AND released_at IS NOT NULL AND EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written)
        WHERE position(t.written IN lower(coalesce(actor, '') || ' ' || coalesce(target, '') || ' ' || reason)) > 0)

-- forget_requests --
-- Requests of a second person's approval that name them and are decided.
UPDATE approvals SET request = '{}' WHERE organization_id = :organization AND (decision IS NOT NULL OR expires_at < :now)
    AND EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written) WHERE position(t.written IN lower(request::text)) > 0)

-- end_exports --
-- Files of exports may hold the person: none is gone on with, and those that are done go now, as if their day were over.
UPDATE exports SET state = CASE WHEN state IN ('waiting', 'running') THEN 'cancelled' ELSE state END,
    finished_at = least(coalesce(finished_at, :now), :now::timestamptz - interval '2 days'),
    filter = CASE WHEN EXISTS (SELECT FROM unnest(:texts::text[]) AS t (written) WHERE position(t.written IN lower(filter)) > 0)
        THEN '' ELSE filter END,
    owner_name = CASE WHEN owner_id = ANY (:members::text[]) THEN 'Erased' ELSE owner_name END
WHERE organization_id = :organization

-- add_erasure --
-- An erasure that is done.
INSERT INTO erasures (organization_id, id, refs, events, removed, left_in_clear, started_at, finished_at)
VALUES (:organization, :id, :refs, :events, :removed, :left_in_clear, :started_at, :finished_at)

-- erasures --
-- Every erasure, oldest first.
SELECT id, refs, events, removed, left_in_clear, started_at, finished_at FROM erasures
WHERE organization_id = :organization ORDER BY started_at, id

-- People and what they hold: teams, workspaces, members, roles, groups, links, sessions, keys of operators, viewers'
-- tokens, providers of identity. Applied after schema.sql. No secret is kept in the clear: what a caller must show is
-- stored as SHA-256 of 256 random bits, passwords as argon2id, other parties' secrets sealed with a key of the data
-- folder. Rows are marked as removed, never deleted: the log names their ids for ever.

-- teams: groups of workspaces, for people to find their way.
CREATE TABLE teams (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,
    display_name    text        NOT NULL CHECK (length(display_name) BETWEEN 1 AND 256),
    created_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- workspaces: what other products call projects. An event may name a workspace that is not here; archived or
-- deleted ones keep their events, which stay readable to the organization.
CREATE TABLE workspaces (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,
    team_id         text,
    display_name    text        NOT NULL CHECK (length(display_name) BETWEEN 1 AND 256),
    created_at      timestamptz NOT NULL DEFAULT now(),
    archived_at     timestamptz,
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- members: the people of an organization. One person in two organizations is two members: isolation comes before
-- convenience. access_version rises with every change of what a member may do, so that sessions notice.
CREATE TABLE members (
    organization_id       uuid        NOT NULL,
    id                    text        NOT NULL,  -- mbr_…
    email                 text        NOT NULL,  -- folded to lower case
    display_name          text        NOT NULL CHECK (length(display_name) BETWEEN 1 AND 256),
    role                  text        NOT NULL,  -- OWNER, ADMIN, MEMBER, VIEWER, AUDITOR, or the id of a row of roles
    active                boolean     NOT NULL DEFAULT true,
    access_version        bigint      NOT NULL DEFAULT 0,
    password_hash         text,                  -- argon2id; null = cannot sign in with a password
    totp_secret           bytea,                 -- sealed with a key of the data folder
    totp_enabled_at       timestamptz,           -- null while only offered
    totp_last_step        bigint,                -- a code is good once
    recovery_code_hashes  text[]      NOT NULL DEFAULT '{}',
    oidc_issuer           text,
    oidc_subject          text,
    scim_external_id      text,
    scim_user_name        text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    removed_at            timestamptz,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT oidc_names_both CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL)),
    CONSTRAINT second_factor_has_a_secret CHECK (totp_enabled_at IS NULL OR totp_secret IS NOT NULL)
);
CREATE UNIQUE INDEX members_by_email ON members (organization_id, email) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX members_by_subject ON members (organization_id, oidc_issuer, oidc_subject) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX members_by_user_name ON members (organization_id, scim_user_name) WHERE removed_at IS NULL;
-- Sign-in begins with an address and no organization.
CREATE INDEX members_of_email ON members (email) WHERE removed_at IS NULL;

-- member_workspaces: what a member is in one workspace.
CREATE TABLE member_workspaces (
    organization_id uuid NOT NULL,
    member_id       text NOT NULL,
    workspace_id    text NOT NULL,
    role            text NOT NULL,
    PRIMARY KEY (organization_id, member_id, workspace_id)
);

-- roles: an organization's own roles; organization:manage is OWNER's alone.
CREATE TABLE roles (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- rol_…
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    permissions     text[]      NOT NULL CHECK (NOT permissions @> ARRAY['organization:manage']),
    created_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX roles_by_name ON roles (organization_id, lower(name)) WHERE deleted_at IS NULL;

-- groups: sets of members that a directory keeps (SCIM, claims of an identity provider), and the role that goes with
-- each, on the organization or on one workspace.
CREATE TABLE groups (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- grp_…
    display_name    text        NOT NULL,
    external_id     text,
    role            text,
    workspace_id    text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    removed_at      timestamptz,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT workspace_has_a_role CHECK (workspace_id IS NULL OR role IS NOT NULL)
);
CREATE TABLE member_groups (
    organization_id uuid NOT NULL,
    group_id        text NOT NULL,
    member_id       text NOT NULL,
    PRIMARY KEY (organization_id, group_id, member_id)
);
CREATE INDEX member_groups_by_member ON member_groups (organization_id, member_id);

-- directory_entries: what a directory (SCIM) says of a member or group beyond what is kept in their own rows, so that it
-- reads back what it wrote: names, all e-mail addresses.
CREATE TABLE directory_entries (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- mbr_… or grp_…
    attributes      jsonb       NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id)
);

-- one_time_links: who holds the link may do one thing once, as one member.
CREATE TABLE one_time_links (
    organization_id uuid        NOT NULL,
    sha256          bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    purpose         text        NOT NULL CHECK (purpose IN ('first-admin', 'invite', 'password-reset')),
    member_id       text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    used_at         timestamptz,
    PRIMARY KEY (organization_id, sha256)
);
CREATE INDEX one_time_links_by_hash ON one_time_links (sha256);

-- sessions: who is signed in; the cookie's token is never stored.
CREATE TABLE sessions (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- ses_…
    sha256          bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    member_id       text        NOT NULL,
    method          text        NOT NULL,  -- password, password+totp, oidc, link …
    access_version  bigint      NOT NULL,  -- the member's when this id was given; a higher one asks for a new id
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    ip              text,
    user_agent      text,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX sessions_by_hash ON sessions (sha256);
CREATE INDEX sessions_by_member ON sessions (organization_id, member_id) WHERE revoked_at IS NULL;

-- operator_keys: keys of those who run this server; each call names its organization in X-Organization-Id.
CREATE TABLE operator_keys (
    id           text        PRIMARY KEY,  -- opk_…
    name         text        NOT NULL,
    prefix       text        NOT NULL,
    sha256       bytea       NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    permissions  text[]      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    last_used_ip text
);

-- deferred_acts: own events of acts on the command line that no log could take at that moment; a server appends them and
-- takes them out, in one transaction.
CREATE TABLE deferred_acts (
    organization_id uuid        NOT NULL,
    id              uuid        NOT NULL,  -- of the event
    source          text        NOT NULL,
    event           bytea       NOT NULL,  -- as JSON
    made_at         timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- viewer_tokens: short-lived reading for a SaaS's own customers, with filters that no request can widen. A token is good
-- for one exchange; what it is exchanged for (session_sha256) ends when the token would have.
CREATE TABLE viewer_tokens (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- vwt_…
    name            text        NOT NULL,  -- who it is for, as the backend says
    sha256          bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    session_sha256  bytea       CHECK (octet_length(session_sha256) = 32),
    permissions     text[]      NOT NULL,
    workspaces      text[],                -- those of the key that made it; null = the whole organization
    filters         jsonb       NOT NULL CHECK (jsonb_typeof(filters) = 'object'),
    origins         text[]      NOT NULL DEFAULT '{}',
    columns         text[]      NOT NULL DEFAULT '{}',  -- of the embedded table; none = all there are
    created_by      text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    used_at         timestamptz,
    revoked_at      timestamptz,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT session_begins_with_use CHECK ((session_sha256 IS NULL) = (used_at IS NULL))
);
CREATE INDEX viewer_tokens_by_session ON viewer_tokens (session_sha256) WHERE session_sha256 IS NOT NULL;
CREATE INDEX viewer_tokens_by_end ON viewer_tokens (expires_at);
CREATE INDEX viewer_tokens_by_hash ON viewer_tokens (sha256);

-- identity_providers: who else may say who somebody is (OpenID Connect).
CREATE TABLE identity_providers (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- idp_…
    display_name    text        NOT NULL,
    issuer          text        NOT NULL,
    client_id       text        NOT NULL,
    client_secret   bytea,                 -- sealed with a key of the data folder; null = a public client
    groups_claim    text        NOT NULL DEFAULT 'groups',
    group_roles     jsonb       NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(group_roles) = 'object'),
    only_oidc       boolean     NOT NULL DEFAULT false,
    trust_email     boolean     NOT NULL DEFAULT false,  -- its addresses are verified although it does not say so
    created_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, id)
);

-- Grants: the writer does all of this, also reading, since an answer of a moment ago may be a revoked right. The reader
-- sees who is who and never a hash.
GRANT SELECT, INSERT, UPDATE ON teams, workspaces, members, roles, groups, one_time_links, sessions, operator_keys,
    viewer_tokens, identity_providers TO tallystick_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON member_workspaces, member_groups, directory_entries TO tallystick_writer;
GRANT SELECT, INSERT, DELETE ON deferred_acts TO tallystick_writer;
GRANT SELECT ON teams, workspaces, roles, groups, member_workspaces, member_groups TO tallystick_reader, tallystick_keeper;
GRANT SELECT (organization_id, id, email, display_name, role, active, access_version, created_at, removed_at)
    ON members TO tallystick_reader, tallystick_keeper;
GRANT DELETE ON sessions, one_time_links, viewer_tokens TO tallystick_keeper;
GRANT SELECT (organization_id, id, expires_at, revoked_at) ON sessions TO tallystick_keeper;
GRANT SELECT (organization_id, sha256, expires_at) ON one_time_links TO tallystick_keeper;
GRANT SELECT (organization_id, id, expires_at) ON viewer_tokens TO tallystick_keeper;

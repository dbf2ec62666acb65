-- What the keeper may do to the tables of people when a person is erased; applied after schema_people.sql.
GRANT UPDATE (email, display_name, password_hash, totp_secret, totp_enabled_at, totp_last_step, recovery_code_hashes,
    oidc_issuer, oidc_subject, scim_external_id, scim_user_name, active, access_version, removed_at)
    ON members TO tallystick_keeper;
GRANT SELECT (member_id), UPDATE (ip, user_agent, revoked_at) ON sessions TO tallystick_keeper;
GRANT SELECT (member_id) ON one_time_links TO tallystick_keeper;
GRANT SELECT, DELETE ON directory_entries, saved_views, default_views TO tallystick_keeper;
GRANT SELECT (name, filters, revoked_at), UPDATE (name, filters, revoked_at) ON viewer_tokens TO tallystick_keeper;
GRANT UPDATE (name) ON api_keys TO tallystick_keeper;
GRANT UPDATE (actor, target, reason) ON legal_holds TO tallystick_keeper;
GRANT UPDATE (state, finished_at, filter, owner_name) ON exports TO tallystick_keeper;

"""SCIM 2.0 (RFC 7643, 7644): members and groups as directories know them. Loaded at the first call, being large."""

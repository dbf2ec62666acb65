"""Writing tables anew, with the owner's rights, so that what was erased is in no page of them."""

from __future__ import annotations

import asyncpg

from tallystick.store.connect import Dsn, classify, connect

_BESIDE = (
    *(
        "subjects",
        "subject_labels",
        "members",
        "sessions",
        "directory_entries",
        "one_time_links",
        "saved_views",
    ),
    *("default_views", "viewer_tokens", "api_keys", "legal_holds", "approvals", "quarantine", "erasures"),
    "exports",
)


async def tables(owner: Dsn) -> list[str]:
    """Return the tables that may hold what was erased: every partition of the log, and those beside it."""
    connection = await connect(owner)
    try:
        rows = await connection.fetch(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'public.audit_logs'::regclass ORDER BY 1"
        )
    except asyncpg.PostgresError as error:
        raise classify(error, during_commit=False) from error
    finally:
        connection.terminate()
    return [*(row["relname"] for row in rows), *_BESIDE]


async def rewrite(owner: Dsn, table: str) -> None:
    """Write one table and its indexes anew; appends and readers of it wait meanwhile."""
    connection = await connect(owner)
    try:
        # The name is one of ours or of the catalog of partitions; VACUUM takes no parameter.
        await connection.execute(f'VACUUM (FULL, ANALYZE) public."{table}"')
    except asyncpg.PostgresError as error:
        raise classify(error, during_commit=False) from error
    finally:
        connection.terminate()

"""PostgreSQL triggers for what bypasses an ORM: raw SQL, COPY, cascades, a human with psql.

The triggers write events into the outbox within the transaction that makes the change; the relay redacts them
before they touch the spool. Who acts is what the application set for the transaction, else the database's login.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tallystick.errors import Misconfigured

SETTING: Final = "tallystick.context"  # of a transaction: an event's actor, workspace and context as JSON
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

FUNCTION: Final = """\
CREATE OR REPLACE FUNCTION tallystick_capture() RETURNS trigger LANGUAGE plpgsql AS $tallystick$
-- Arguments: outbox table, type of the target, key columns and left-out columns, both separated by commas.
DECLARE
    outbox text := TG_ARGV[0];
    kind text := TG_ARGV[1];
    said jsonb := nullif(current_setting('tallystick.context', true), '')::jsonb;
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - string_to_array(TG_ARGV[3], ',') END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - string_to_array(TG_ARGV[3], ',') END;
    whole jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    key text;
    id uuid := gen_random_uuid();
BEGIN
    IF TG_OP = 'UPDATE' AND old_row = new_row THEN
        RETURN NULL;
    END IF;
    SELECT string_agg(coalesce(whole ->> name, ''), ',' ORDER BY place) INTO key
        FROM unnest(string_to_array(TG_ARGV[2], ',')) WITH ORDINALITY AS keys (name, place);
    EXECUTE format('INSERT INTO %s (id, event) VALUES ($1, $2)', outbox) USING id::text, convert_to((
        jsonb_build_object(
            'id', id,
            'action', kind || CASE TG_OP WHEN 'INSERT' THEN '.create' WHEN 'UPDATE' THEN '.update' ELSE '.delete' END,
            'actor', coalesce(said -> 'actor', jsonb_build_object('type', 'service', 'id', 'postgresql:' || session_user)),
            'targets', jsonb_build_array(jsonb_build_object('type', kind, 'id', key)),
            'occurred_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'metadata', jsonb_build_object('captured_by', 'trigger')
        )
        || CASE WHEN said ? 'workspace' THEN jsonb_build_object('workspace', said -> 'workspace') ELSE '{}' END
        || CASE WHEN said ? 'context' THEN jsonb_build_object('context', said -> 'context') ELSE '{}' END
        || CASE WHEN old_row IS NOT NULL THEN jsonb_build_object('before', old_row) ELSE '{}' END
        || CASE WHEN new_row IS NOT NULL THEN jsonb_build_object('after', new_row) ELSE '{}' END
    )::text, 'UTF8');
    RETURN NULL;
END
$tallystick$"""


def capture_table(
    table: str,
    *,
    key: Sequence[str] = ("id",),
    type: str | None = None,
    exclude: Iterable[str] = (),
    outbox: str = "audit_outbox",
) -> list[str]:
    """Return the statements that make every change of `table` an event; for a migration.

    Args:
        table: its name, with a schema if it needs one. key: the columns of its primary key.
        type: of the target; by default the table's name. exclude: columns that are in no event.
        outbox: the outbox table, with a schema if it needs one.

    Raises Misconfigured for a name that is none.
    """
    columns = (*key, *exclude)
    for name in (table, outbox, *columns):
        if not _NAME.fullmatch(name):
            raise Misconfigured(f"{name!r} is not a name of a table or column that the trigger pack can use")
    kind = type or table.rpartition(".")[2]
    if not _TYPE.fullmatch(kind):
        raise Misconfigured(f"{kind!r} is not a type of target: letters, digits and . _ - only")
    arguments = ", ".join(f"'{text}'" for text in (outbox, kind, ",".join(key), ",".join(exclude)))
    return [
        FUNCTION,
        f"DROP TRIGGER IF EXISTS tallystick_capture ON {table}",
        f"CREATE TRIGGER tallystick_capture AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION tallystick_capture({arguments})",
    ]

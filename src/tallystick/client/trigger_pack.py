"""PostgreSQL triggers for what bypasses an ORM: raw SQL, COPY, cascades, TRUNCATE, a human with psql.

The triggers write events into the outbox within the transaction that makes the change, once a statement and for all
its rows; the relay redacts them before they leave. Who acts is what the application set for the transaction
(`tallystick.context`), else the database's login.

A statement whose rows an ORM tells itself begins with the comment `marked` gives; the trigger leaves it alone. A
comment belongs to one statement, so that nothing else in its transaction can pass by under it: not what the statement
causes in other triggers and cascades, and not what runs after it. Where something on the way strips comments, and where
a foreign key cascades from a table back to itself, changes are told twice, and never not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallystick.client.actors import actor_part
from tallystick.client.context import current
from tallystick.client.snapshot import plain
from tallystick.errors import Misconfigured

SETTING: Final = (
    "tallystick.context"  # of a transaction: an event's actor, workspace, stream and context as JSON
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IDENTIFIER_MAX: Final = 63

# Version 7 of RFC 9562, so that events of one time lie together in the server's indexes.
_ID: Final = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send("
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid::text"
)
_FUNCTION: Final = """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql{security} AS $tallystick$
DECLARE
    said jsonb := nullif(current_setting('tallystick.context', true), '')::jsonb;
    frame jsonb;
BEGIN
    IF pg_trigger_depth() = 1 AND starts_with(current_query(), '{mark}') AND (
        TG_OP = 'INSERT' OR NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = TG_RELID AND {cascades})
        OR NOT EXISTS (
            WITH RECURSIVE taken (oid) AS (
                SELECT c.conrelid FROM pg_constraint c WHERE c.confrelid = TG_RELID AND {cascades}
                UNION SELECT c.conrelid FROM pg_constraint c JOIN taken ON c.confrelid = taken.oid WHERE {cascades}
            ) SELECT FROM taken WHERE taken.oid = TG_RELID
        )
    ) THEN
        RETURN NULL; -- the ORM that sent this statement tells its rows itself
    END IF;
    frame := jsonb_build_object(
        'actor', jsonb_build_object('type', 'service', 'id', 'postgresql:' || session_user),
        'occurred_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'metadata', jsonb_build_object('captured_by', 'trigger')
    ) || coalesce(said, '{{}}');
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO {outbox} (id, event) SELECT {id}, convert_to((frame || jsonb_build_object(
            'action', '{kind}' || CASE WHEN o.{first} IS NULL THEN '.create' WHEN n.{first} IS NULL THEN '.delete' ELSE '.update' END,
            'targets', jsonb_build_array(jsonb_build_object('type', '{kind}', 'id', coalesce({old_key}, {new_key})))
        ) || CASE WHEN o.{first} IS NULL THEN '{{}}' ELSE jsonb_build_object('before', {old}) END
          || CASE WHEN n.{first} IS NULL THEN '{{}}' ELSE jsonb_build_object('after', {new}) END)::text, 'UTF8')
        FROM old_rows o FULL JOIN new_rows n ON {same} -- a changed key is one row gone and another one come
        WHERE o.{first} IS NULL OR n.{first} IS NULL OR {old} <> {new};
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO {outbox} (id, event) SELECT {id}, convert_to((frame || jsonb_build_object(
            'action', '{kind}.create',
            'targets', jsonb_build_array(jsonb_build_object('type', '{kind}', 'id', {new_key})), 'after', {new}
        ))::text, 'UTF8') FROM new_rows n;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {outbox} (id, event) SELECT {id}, convert_to((frame || jsonb_build_object(
            'action', '{kind}.delete',
            'targets', jsonb_build_array(jsonb_build_object('type', '{kind}', 'id', {old_key})), 'before', {old}
        ))::text, 'UTF8') FROM old_rows o;
    ELSE -- TRUNCATE, before it is done
        INSERT INTO {outbox} (id, event) SELECT {id}, convert_to((frame || jsonb_build_object(
            'action', '{kind}.delete',
            'targets', jsonb_build_array(jsonb_build_object('type', '{kind}', 'id', {old_key})), 'before', {old}
        ))::text, 'UTF8') FROM {table} o;
    END IF;
    RETURN NULL;
END
$tallystick$"""
# Rows that a cascade brings back to the statement's own table are among its rows, and no ORM knows of them.
_CASCADES: Final = (
    "c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))"
)
_TRIGGERS: Final = (
    ("insert", "AFTER INSERT", " REFERENCING NEW TABLE AS new_rows"),
    ("update", "AFTER UPDATE", " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ("delete", "AFTER DELETE", " REFERENCING OLD TABLE AS old_rows"),
    ("truncate", "BEFORE TRUNCATE", ""),
)


def capture_table(
    table: str,
    *,
    key: Sequence[str] = ("id",),
    type: str | None = None,
    exclude: Iterable[str] = (),
    outbox: str = "audit_outbox",
    definer: bool = False,
) -> list[str]:
    """Return the statements that make every change of `table` an event; for a migration, and to be repeated at will.

    Args:
        table: its name as the catalogue has it, with a schema if it needs one. key: the columns of its primary key.
        type: of the target; by default the table's name. exclude: columns that are in no event.
        outbox: the outbox table, with a schema if it needs one.
        definer: whether the trigger writes with the rights of whoever runs this, so that roles which may write to
            the table need none on the outbox; then `table` and `outbox` must be named with their schemas.

    Raises Misconfigured for a name that is none.
    """
    left_out = tuple(exclude)
    for name in (table, outbox, *key, *left_out):
        if not _NAME.fullmatch(name):
            raise Misconfigured(f"{name!r} is not a name of a table or column that the trigger pack can use")
    if not key:
        raise Misconfigured(f"{table} needs the columns of its primary key")
    if definer and not ("." in table and "." in outbox):
        raise Misconfigured("with definer=True, name table and outbox with their schemas")
    kind = type or _bare(table)
    if not _TYPE.fullmatch(kind):
        raise Misconfigured(f"{kind!r} is not a type of target: letters, digits and . _ - only")
    function = _function_name(table)
    body = _FUNCTION.format(
        function=function,
        security=" SECURITY DEFINER SET search_path = pg_catalog, pg_temp" if definer else "",
        mark=mark(table),
        cascades=_CASCADES,
        outbox=_quoted(outbox),
        table=_quoted(table),
        id=_ID,
        kind=kind,
        first=_quoted(key[0]),
        same=" AND ".join(f"n.{_quoted(name)} = o.{_quoted(name)}" for name in key),
        old_key=_key_text("o", key),
        new_key=_key_text("n", key),
        old=_row("o", left_out),
        new=_row("n", left_out),
    )
    return [
        body,
        *release_table(table)[:-1],
        *(
            f"CREATE TRIGGER tallystick_{verb} {when} ON {_quoted(table)}{rows} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION {function}()"
            for verb, when, rows in _TRIGGERS
        ),
    ]


def release_table(table: str) -> list[str]:
    """Return the statements that take the triggers of `table` away again."""
    if not _NAME.fullmatch(table):
        raise Misconfigured(f"{table!r} is not a name of a table that the trigger pack can use")
    drops = [f"DROP TRIGGER IF EXISTS tallystick_{verb} ON {_quoted(table)}" for verb, _, _ in _TRIGGERS]
    return [*drops, f"DROP FUNCTION IF EXISTS {_function_name(table)}()"]


def mark(table: str) -> str:
    """Return the comment at the beginning of a statement on `table` whose rows are told by whoever sends it."""
    return f"/*tallystick:{_bare(table)}*/"


def told_context() -> str:
    """Return what is bound here as the text of SETTING, "" where nobody acts."""
    bound = current()
    actor = bound.actor() if callable(bound.actor) else bound.actor
    if actor is None:
        return ""
    said: dict[str, Any] = {"actor": actor_part(actor, bound.on_behalf_of)}
    for name in ("workspace", "stream"):
        value = getattr(bound, name)
        if value is not None:
            said[name] = value
    if bound.places:
        said["context"] = _plain(bound.places)
    if bound.metadata:
        said["metadata"] = {**_plain(bound.metadata), "captured_by": "trigger"}
    return msgspec.json.encode(said).decode()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    # The setting is no place for a secret: it is hidden whole, and not by its fingerprint.
    return plain(values, lambda secret: "[secret]")


def _row(alias: str, left_out: Sequence[str]) -> str:
    names = ", ".join(f"'{name}'" for name in left_out)
    return f"(to_jsonb({alias}) - ARRAY[{names}])" if names else f"to_jsonb({alias})"


def _key_text(alias: str, key: Sequence[str]) -> str:
    parts = [f"{alias}.{_quoted(name)}::text" for name in key]
    return " || ',' || ".join(parts)  # null where there is no such row


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _bare(table: str) -> str:
    return table.rpartition(".")[2]


def _function_name(table: str) -> str:
    schema, _, name = table.rpartition(".")
    made = f"tallystick_{name}"
    if len(made) > _IDENTIFIER_MAX:
        made = f"{made[:50]}_{sha256(name.encode()).hexdigest()[:12]}"
    return _quoted(f"{schema}.{made}" if schema else made)

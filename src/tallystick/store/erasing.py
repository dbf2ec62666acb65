"""Erasing: finding what tells of a person, and putting in its place what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus
from uuid import UUID

from tallystick.store.connect import Connection
from tallystick.store.queries import load
from tallystick.store.statement import Statement, assemble


class SealedRow(NamedTuple):
    """A row as far as erasing it needs."""

    position: int
    received_at: datetime
    leaf: bytes
    opening: bytes
    seed: bytes


class Rewritten(NamedTuple):
    """What a row becomes: opening, seed and the columns that follow from the opening."""

    row: SealedRow
    opening: bytes
    seed: bytes
    ip: str
    target_type: str
    target_id: str
    more_targets: tuple[str, ...]


@cache
def _statement(name: str) -> Statement:
    return assemble(load("erasing"), name)


async def fetch(connection: Connection, named: str, /, **values: Any) -> list[Any]:
    """Run a statement of erasing.sql by its name and return its rows."""
    statement = _statement(named)
    return await connection.fetch(statement.text, *statement.arguments(values))


async def mentions(
    connection: Connection,
    organization_id: UUID,
    refs: Sequence[UUID],
    texts: Sequence[str],
    first: int,
    end: int,
    received: tuple[datetime, datetime],
) -> list[SealedRow]:
    """Return the rows of [first, end) by these subjects, on their behalf, or with one of the lower-case JSON texts."""
    rows = await fetch(
        connection, "mentions", organization=organization_id, refs=list(refs), first=first, end=end,
        marks=[b'"ref":"%b"' % ref.hex.encode() for ref in refs], texts=list(texts),
        received_from=received[0], received_to=received[1],
    )  # fmt: skip
    return [SealedRow(*row) for row in rows]


async def rewrite(connection: Connection, organization_id: UUID, rows: Sequence[Rewritten]) -> int:
    """Put these rows in place of what they were, and return how many of them still were that."""
    done = await fetch(
        connection,
        "rewrite",
        organization=organization_id,
        positions=[one.row.position for one in rows],
        received=[one.row.received_at for one in rows],
        old_seeds=[one.row.seed for one in rows],
        openings=[one.opening for one in rows],
        seeds=[one.seed for one in rows],
        ips=[one.ip for one in rows],
        target_types=[one.target_type for one in rows],
        target_ids=[one.target_id for one in rows],
        more_targets=[array_literal(one.more_targets) for one in rows],
    )
    return len(done)


async def forget_person(
    connection: Connection,
    organization_id: UUID,
    refs: Sequence[UUID],
    ids: Sequence[str],
    texts: Sequence[str],
    now: datetime,
) -> None:
    """Empty everything beside the log of a person: directory, membership, sessions, views, tokens; the log is locked."""
    where = {"organization": organization_id}
    await fetch(connection, "forget_subjects", **where, refs=list(refs))
    await fetch(connection, "forget_labels", **where, refs=list(refs))
    await fetch(connection, "raise_epoch", **where)
    gone = await fetch(
        connection, "forget_members", **where, ids=list(ids), texts=[text for text in texts if "@" in text], now=now
    )  # fmt: skip
    written = sorted({form.lower() for text in texts for form in (text, quote(text), quote_plus(text))})
    everything = {
        **where,
        "members": [row["id"] for row in gone],
        "texts": written,
        "now": now,
    }
    for name in (
        *("forget_sessions", "forget_links", "forget_entries", "forget_default_views", "forget_views"),
        *("forget_tokens", "forget_key_names", "forget_holds", "forget_requests", "end_exports"),
    ):
        await fetch(connection, name, **everything)


def array_literal(texts: Sequence[str]) -> str:
    """Return `texts` as PostgreSQL writes a text[]; lists of different lengths have no other way into one statement."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"

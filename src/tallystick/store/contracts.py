"""What the read contracts of other products ask for beyond a search: credentials, places, and order by millisecond."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tallystick.event.canonical import canonical_text
from tallystick.event.model import ACTOR_TYPES
from tallystick.store.conditions import conditions_of, person_texts, read_dictionary, read_people
from tallystick.store.connect import Pool, transaction
from tallystick.store.months import FOREVER, NEVER
from tallystick.store.queries import load
from tallystick.store.read import Row as EventRow
from tallystick.store.rows import POSITION_MAX, SETTINGS, Found, Key
from tallystick.store.search import Wanted
from tallystick.store.statement import Statement, assemble
from tallystick.store.trigrams import array_of, pieces_of_text

_PIECES = {**load("search"), **load("contracts")}
_SUBJECTS = assemble(_PIECES, "subjects_with")
_PLACE = assemble(_PIECES, "place_of")
_KNOWN_AS = assemble(_PIECES, "subjects_known_as")
_VALUES = assemble(_PIECES, "values_of")
_WITHIN = assemble(_PIECES, "within_time")
_FROM = assemble(_PIECES, "from_time")
VALUES_MAX = 5_000
# Both in order of the time index: nothing is gained by any other plan, and much can be lost.
_IN_ORDER = "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on"


class Subject(NamedTuple):
    """One actor of a log."""

    type: str
    id: str


class Timed(NamedTuple):
    """One event with its id, not yet rendered."""

    id: UUID
    position: int
    occurred_at: datetime
    leaf: bytes
    opening: bytes


async def subjects_with(pool: Pool, organization_id: UUID, ids: Sequence[str]) -> list[Subject]:
    """Return the actors that have one of `ids`."""
    arguments = {"organization": organization_id, "types": list(ACTOR_TYPES), "ids": list(ids)}
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SUBJECTS.text, *_SUBJECTS.arguments(arguments))
    return [Subject(*row) for row in rows]


async def subjects_known_as(pool: Pool, organization_id: UUID, labels: Sequence[str]) -> list[Subject]:
    """Return the actors with an id that were seen with one of `labels` (in lower case) as id, name or e-mail."""
    arguments = {
        "organization": organization_id,
        "labels": list(labels),
        "trigrams": [array_of(pieces_of_text(organization_id, label)) for label in labels],
    }
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        await connection.execute(SETTINGS)
        rows = await connection.fetch(_KNOWN_AS.text, *_KNOWN_AS.arguments(arguments))
    return [Subject(*row) for row in rows]


async def values_of(pool: Pool, organization_id: UUID, kind: str) -> list[str] | None:
    """Return every value of `kind` (action, target_type, …) that an event of this log has; None when over 5,000."""
    arguments = {"organization": organization_id, "kind": kind, "most": VALUES_MAX}
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_VALUES.text, *_VALUES.arguments(arguments))
    return [row["value"] for row in rows] if len(rows) <= VALUES_MAX else None


async def walk(pool: Pool, wanted: Wanted, *, credentials: Sequence[str], size: int) -> list[Found]:
    """Return a page of events that match and were done by persons with one of `credentials`.

    They are looked for in every leaf on the way, which takes a second or two for a million rows; the reader's
    time-out ends it, as TryLater. `size` is the size of the log the pages are made from.
    """
    query, organization_id = wanted.query, wanted.organization_id
    newest = query.order == "newest"
    place = wanted.after or (Key(FOREVER, POSITION_MAX) if newest else Key(NEVER, -1))
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        await connection.execute(SETTINGS)
        dictionary = await read_dictionary(connection, organization_id, query)
        people = await read_people(connection, organization_id, person_texts(query))
        conditions = conditions_of(query, dictionary, people=people)
        if conditions.impossible:
            return []
        await connection.execute(_IN_ORDER)
        arguments: dict[str, Any] = {
            **conditions.values,
            "organization": organization_id,
            "size": min(size, dictionary.size),
            "since": query.since or NEVER,
            "until": query.until or FOREVER,
            "received_from": NEVER,
            "received_to": FOREVER,
            "place_at": place.occurred_at,
            "place_position": place.position,
            "wanted": query.limit,
            "credentials": [b'"credential_id":' + canonical_text(text) for text in credentials],
        }
        # A walk sees many rows, and each condition costs on each of them: only those that are asked are put in.
        statement = assemble(_PIECES, f"walk_{query.order}", only=conditions.asked())
        rows = await connection.fetch(statement.text, *statement.arguments(arguments))
    return [Found(*row) for row in rows]


async def place_of(pool: Pool, organization_id: UUID, event_id: UUID) -> tuple[Key, EventRow] | None:
    """Return where an event stands in the order of time, and the event; None when the log has no such event."""
    arguments = {"organization": organization_id, "id": event_id}
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_PLACE.text, *_PLACE.arguments(arguments))
    if row is None:
        return None
    event = EventRow(row["position"], row["workspace"], row["leaf"], row["opening"])
    return Key(row["occurred_at"], row["position"]), event


async def within_time(
    pool: Pool,
    organization_id: UUID,
    workspaces: Sequence[str] | None,
    since: datetime,
    until: datetime,
    *,
    beyond: UUID | None,
    wanted: int,
) -> list[Timed]:
    """Return events within [since, until), which is one millisecond, in the order of their ids."""
    return await _fetch(
        pool,
        _WITHIN,
        {
            "organization": organization_id,
            "workspaces": workspaces,
            "since": since,
            "until": until,
            "beyond": beyond,
            "wanted": wanted,
        },
    )


async def from_time(
    pool: Pool,
    organization_id: UUID,
    workspaces: Sequence[str] | None,
    since: datetime | None,
    *,
    wanted: int,
) -> list[Timed]:
    """Return events that occurred at `since` or later, oldest first; None = from the beginning."""
    return await _fetch(
        pool,
        _FROM,
        {
            "organization": organization_id,
            "workspaces": workspaces,
            "since": since or NEVER,
            "wanted": wanted,
        },
        settings=f"{SETTINGS}; {_IN_ORDER}",
    )


async def _fetch(
    pool: Pool, statement: Statement, arguments: dict[str, Any], *, settings: str = SETTINGS
) -> list[Timed]:
    async with transaction(pool, reading=True, organization=arguments["organization"]) as connection:
        await connection.execute(settings)
        rows = await connection.fetch(statement.text, *statement.arguments(arguments))
    return [Timed(*row) for row in rows]

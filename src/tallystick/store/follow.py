"""Following a log: the next rows in the order of positions that match a query, none of them skipped."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from tallystick.query.model import Query
from tallystick.store.conditions import conditions_of, read_dictionary
from tallystick.store.connect import Pool, transaction
from tallystick.store.keeping import first_present, missing
from tallystick.store.months import FOREVER, NEVER
from tallystick.store.queries import load
from tallystick.store.read import months_of
from tallystick.store.rows import SETTINGS
from tallystick.store.statement import assemble

_FOLLOW = assemble(load("search"), "follow")


class Followed(NamedTuple):
    """One matching row."""

    position: int
    leaf: bytes
    opening: bytes


class Stretch(NamedTuple):
    """The matching rows of a stretch of the log, and the last position of the stretch."""

    events: list[Followed]
    last: int


async def follow(pool: Pool, organization_id: UUID, query: Query, after: int, limit: int) -> Stretch:
    """Return those of the next `limit` rows beyond position `after` that match; raises Tampered at a hole."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        await connection.execute(SETTINGS)
        dictionary = await read_dictionary(connection, organization_id, query)
        first, end = after + 1, min(after + 1 + limit, dictionary.size)
        if first >= end:
            return Stretch([], after)
        # A stretch is short: asking the directory about each row costs less than finding everyone a text fits.
        conditions = conditions_of(query, dictionary, people=None)
        received_from, received_to = await months_of(connection, organization_id, first, end)
        arguments = {
            **conditions.arguments(),
            "organization": organization_id,
            "since": query.since or NEVER,
            "until": query.until or FOREVER,
            "first": first,
            "end": end,
            "received_from": received_from,
            "received_to": received_to,
        }
        rows = await connection.fetch(_FOLLOW.text, *_FOLLOW.arguments(arguments))
        await missing(connection, organization_id, [row["position"] for row in rows], first, end)
        if not rows:
            end = await first_present(connection, organization_id, end, dictionary.size)
    return Stretch(
        [Followed(row["position"], row["leaf"], row["opening"]) for row in rows if row["hit"]], end - 1
    )

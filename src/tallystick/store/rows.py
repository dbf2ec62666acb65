"""The statements behind a search: scan rows in the order of time, or probe the facet index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from tallystick.query.model import Query
from tallystick.store.conditions import Conditions, Slot
from tallystick.store.connect import Connection
from tallystick.store.months import FOREVER, NEVER, Month
from tallystick.store.queries import load
from tallystick.store.statement import Statement, assemble

POSITION_MAX = 2**63 - 1
STATEMENT_SECONDS_MIN = 0.05

_PIECES = load("search")

# The statements leave the planner one good way, so a plan is kept and not made anew each time: planning for a year
# of months takes longer than most pages.
SETTINGS = (
    "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0; "
    "SET LOCAL plan_cache_mode = force_generic_plan"
)
LONG_LIST = 12
# What a walk may cost, and its time, is bounded by its rows.
SCAN_SETTINGS = (
    "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on"
)
# Reading the whole primary key to narrow down what the facet index finds must never look cheap.
PROBE_SETTINGS = (
    "SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off; "
    "SET LOCAL cpu_index_tuple_cost = 10"
)


@lru_cache(maxsize=4096)
def statement_for(name: str, asked: frozenset[str], long: frozenset[str] = frozenset()) -> Statement:
    """Return a statement of search.sql that holds just the conditions something is asked of; `long` are long lists."""
    return assemble(_PIECES, name, only=asked, hashed=long)


def long_lists(conditions: Conditions) -> frozenset[str]:
    """Return the parameters that hold so many actions or actors that a row is looked up among them by hash."""
    return frozenset(
        name
        for name, value in conditions.values.items()
        if isinstance(value, list) and len(value) > LONG_LIST and name.endswith(("actions", "refs"))
    )


def slots_in_use(slots: Sequence[Slot]) -> frozenset[str]:
    """Return the conditions of `hits` that these slots fill."""
    return frozenset(f"hit_slot{number}" for number in range(1, len(slots) + 1))


class TimeOver(Exception):
    """The statement was stopped because the time of its search is over; the transaction goes on."""


class Key(NamedTuple):
    """A place in the order of time."""

    occurred_at: datetime
    position: int


class Found(NamedTuple):
    """One event of a page, not yet rendered."""

    position: int
    occurred_at: datetime
    leaf: bytes
    opening: bytes


class Scanned(NamedTuple):
    """What a walk found, how many rows it read, and where it goes on; `end` None = it read everything."""

    found: list[Found]
    rows: int
    end: Key | None


class Reader:
    """The rows of one log below one size, read for one query within one transaction.

    `deadline` is when the whole search shall end, on the clock `monotonic`, in seconds.
    """

    def __init__(
        self,
        connection: Connection,
        organization_id: UUID,
        query: Query,
        size: int,
        deadline: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self._monotonic = monotonic
        self._undo = ""
        self.query = query
        self.size = size
        self.newest = query.order == "newest"
        self.very_start = Key(FOREVER, POSITION_MAX) if self.newest else Key(NEVER, -1)
        self._fixed: dict[str, Any] = {
            "organization": organization_id,
            "size": size,
            "since": query.since or NEVER,
            "until": query.until or FOREVER,
        }

    def seconds_left(self) -> float:
        """Return how much of the time for the search is left."""
        return self._deadline - self._monotonic()

    async def scan(
        self, conditions: Conditions, months: Sequence[Month], after: Key, rows_max: int, wanted: int
    ) -> Scanned:
        """Return up to `wanted` matching rows among the first `rows_max` rows after a place, in order."""
        await self._connection.execute(self._undo + SCAN_SETTINGS)
        self._undo = ""
        statement = statement_for(f"scan_{self.query.order}", conditions.asked(), long_lists(conditions))
        arguments = {
            **conditions.values,
            **self._place(months, after),
            "rows_max": rows_max,
            "wanted": wanted,
        }
        rows = await self._connection.fetch(statement.text, *statement.arguments(arguments))
        found = [Found(*row[:4]) for row in rows if row["hit"]]
        # The last row of a walk that went all its way says where it goes on; without it, there is nothing beyond.
        goes_on = bool(rows) and (rows[-1]["n"] == rows_max or len(found) == wanted)
        end = Key(rows[-1]["occurred_at"], rows[-1]["position"]) if goes_on else None
        return Scanned(found, rows[-1]["n"] if goes_on else rows_max, end)

    async def probe(
        self, conditions: Conditions, slots: Sequence[Slot], months: Sequence[Month], after: Key, wanted: int
    ) -> list[Found]:
        """Return the first `wanted` matching rows after a place, in order, found by `slots`; raises TimeOver."""
        milliseconds = int(max(STATEMENT_SECONDS_MIN, self.seconds_left()) * 1000)
        await self._connection.execute(
            f"{self._undo}SAVEPOINT probe; {PROBE_SETTINGS}; SET LOCAL statement_timeout = {milliseconds}"
        )
        self._undo = "ROLLBACK TO SAVEPOINT probe; "  # its settings are not those of what follows
        statement = statement_for(
            f"probe_{self.query.order}", conditions.asked() | slots_in_use(slots), long_lists(conditions)
        )
        arguments = {**conditions.arguments(slots), **self._place(months, after), "wanted": wanted}
        try:
            return await self._fetch(statement, arguments)
        except asyncpg.QueryCanceledError:
            await self._connection.execute(self._undo)
            raise TimeOver from None

    async def _fetch(self, statement: Statement, arguments: dict[str, Any]) -> list[Found]:
        rows = await self._connection.fetch(statement.text, *statement.arguments(arguments))
        return [Found(*row) for row in rows]

    def _place(self, months: Sequence[Month], after: Key) -> dict[str, Any]:
        return {
            **self._fixed,
            "received_from": min(month.start for month in months),
            "received_to": max(month.end for month in months),
            "place_at": after.occurred_at,
            "place_position": after.position,
        }


def plan_mode(conditions: Conditions) -> str:
    lists = (value for value in conditions.values.values() if isinstance(value, list))
    return "force_custom_plan" if any(len(value) > LONG_LIST for value in lists) else "force_generic_plan"

"""The statements behind a search: scan rows in the order of time, or probe the facet index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from tallystick.query.model import Query
from tallystick.store.conditions import Conditions
from tallystick.store.connect import Connection
from tallystick.store.months import FOREVER, NEVER, Month
from tallystick.store.queries import load
from tallystick.store.statement import Statement, assemble

POSITION_MAX = 2**63 - 1
STATEMENT_SECONDS_MIN = 0.05

_PIECES = load("search")
_SCAN = {order: assemble(_PIECES, f"scan_{order}") for order in ("newest", "oldest")}
_SCAN_END = {order: assemble(_PIECES, f"end_of_scan_{order}") for order in ("newest", "oldest")}
_PROBE = {order: assemble(_PIECES, f"probe_{order}") for order in ("newest", "oldest")}

# The statements leave the planner one good way, so a plan is kept and not made anew each time: planning for a year
# of months takes longer than most pages. Only for long lists it is worth while, which it turns into hash tables.
SETTINGS = (
    "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0; "
    "SET LOCAL plan_cache_mode = force_generic_plan"
)
LONG_LIST = 12
_SCAN_SETTINGS = (
    "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on"
)
_PROBE_SETTINGS = (
    "SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off"
)


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
    ) -> list[Found]:
        """Return up to `wanted` matching rows among the first `rows_max` rows after a place, in order."""
        await self._connection.execute(
            f"{_SCAN_SETTINGS}; SET LOCAL plan_cache_mode = {plan_mode(conditions)}"
        )
        return await self._fetch(_SCAN, conditions, months, after, rows_max=rows_max, wanted=wanted)

    async def end_of_scan(self, months: Sequence[Month], after: Key, rows_max: int) -> Key | None:
        """Return the place of the last row that such a scan reaches, None when it reaches the end."""
        statement = _SCAN_END[self.query.order]
        arguments = {**self._place(months, after), "rows_max": rows_max}
        row = await self._connection.fetchrow(statement.text, *statement.arguments(arguments))
        return None if row is None else Key(row["occurred_at"], row["position"])

    async def probe(
        self, conditions: Conditions, months: Sequence[Month], after: Key, wanted: int
    ) -> list[Found]:
        """Return the first `wanted` matching rows after a place, in order; raises TimeOver."""
        milliseconds = int(max(STATEMENT_SECONDS_MIN, self.seconds_left()) * 1000)
        await self._connection.execute(
            f"SAVEPOINT probe; {_PROBE_SETTINGS}; SET LOCAL plan_cache_mode = {plan_mode(conditions)}; "
            f"SET LOCAL statement_timeout = {milliseconds}"
        )
        try:
            return await self._fetch(_PROBE, conditions, months, after, wanted=wanted)
        except asyncpg.QueryCanceledError:
            await self._connection.execute("ROLLBACK TO SAVEPOINT probe")
            raise TimeOver from None

    async def _fetch(
        self,
        statements: dict[str, Statement],
        conditions: Conditions,
        months: Sequence[Month],
        after: Key,
        **more: int,
    ) -> list[Found]:
        statement = statements[self.query.order]
        arguments = {**conditions.arguments(), **self._place(months, after), **more}
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

"""Events of a spool that will not come, and what is kept of them until an event tells of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from tallystick.client.spool_numbers import gather, written
from tallystick.event.numbering import Range

NOTHING_LOST: Final = frozenset({"refused", "repeated"})  # reasons to tell of numbers, not of losses


class Kept(Protocol):
    """A row of the spool, known by both."""

    @property
    def seq(self) -> int:
        """Its key."""
        ...

    @property
    def id(self) -> str:
        """The id of its event."""
        ...


class Gap(Struct, frozen=True):
    """Events that will not come for one reason; `lost` 0 says that nobody knows how many.

    Of reason `refused` they are dead letters, of `repeated` they are in the log under another number: nothing is lost.
    """

    id: str
    reason: str
    lost: int
    first_at_ms: int
    last_at_ms: int


def tell(
    connection: sqlite3.Connection,
    reason: str,
    untold: int,
    numbers: Sequence[Range],
    now: int,
    new_id: Callable[[], str],
) -> None:
    """Have an event recorded about `untold` events that will not come; as many events as `numbers` need."""
    known = connection.execute(
        "SELECT id, unsent FROM gap WHERE reason = ? AND (lost > 0) = (? > 0) ORDER BY rowid DESC LIMIT 1",
        (reason, untold),
    ).fetchone()
    first, *others = written(numbers, onto=known[1] if known else None)
    # Each has at least one lost event, so that none of them says "nobody knows": there are never fewer events than ranges.
    least = untold - len(others) if untold else 0
    if known:
        sql = "UPDATE gap SET lost = lost + ?, last_at = ?, unsent = ? WHERE id = ?"
        connection.execute(sql, (least, now, first, known[0]))
    else:
        connection.execute(
            "INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?)", (new_id(), reason, least, now, now, first)
        )
    more = [(new_id(), reason, min(untold, 1), now, now, text) for text in others]
    connection.executemany("INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?)", more)


def bury(
    connection: sqlite3.Connection, dead: Iterable[tuple[Kept, str, str]], now: int, new_id: Callable[[], str]
) -> None:
    """Put refused events aside with their numbers, and have those told of: the server will not see them."""
    sql = (
        "INSERT OR REPLACE INTO dead SELECT id, ?, ?, ?, event, seq, lost, unsent FROM waiting "
        "WHERE seq = ? AND id = ? RETURNING seq, lost, unsent"
    )
    told: list[tuple[int, str | None]] = []
    for row, rule, message in dead:
        for seq, lost, unsent in connection.execute(sql, (now, rule, message, row.seq, row.id)).fetchall():
            if lost is None:  # were an event of our own told of when it is refused, that would go on for ever
                told.append((seq, unsent))
    if told:
        tell(connection, "refused", len(told), gather(connection, told), now, new_id)


def count(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Add `number` to a counter."""
    if number:
        connection.execute(
            "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, number),
        )

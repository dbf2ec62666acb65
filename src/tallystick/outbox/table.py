"""The outbox table: the one declaration of its columns and of every statement on it, for each driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from msgspec import Struct

from tallystick.errors import Misconfigured

TABLE: Final = "audit_outbox"
ROWS_MAX: Final = 500  # that one round of a relay takes; the server takes 1,000 in a batch
Style = Literal["format", "dollar", "question"]
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")
_HEADING: Final = re.compile(r"^-- (\w+) --$", re.MULTILINE)


class Statement(Struct, frozen=True):
    """One statement with its values, in the words of one driver."""

    sql: str
    values: tuple[Any, ...] = ()


class Lag(Struct, frozen=True, kw_only=True):
    """What an outbox holds: events that wait, since when the oldest does, and dead letters."""

    waiting: int
    oldest_age_seconds: float
    refused: int

    def prometheus(self) -> str:
        """Return the numbers in Prometheus's text format, to be appended to an application's own metrics."""
        lines: list[str] = []
        for name in ("waiting", "oldest_age_seconds", "refused"):
            lines += [
                f"# TYPE tallystick_outbox_{name} gauge",
                f"tallystick_outbox_{name} {getattr(self, name)}",
            ]
        return "\n".join(lines) + "\n"


class Statements:
    """The statements on one outbox table.

    Args:
        table: its name, with a schema if it needs one.
        style: how the driver marks values: format (`%s`: psycopg, Django), dollar (asyncpg), question (SQLite).
        shared: whether several relays may hold rows at once (SKIP LOCKED); SQLite has one writer.

    Raises Misconfigured for a name that is none.
    """

    def __init__(self, table: str = TABLE, *, style: Style = "format", shared: bool = True) -> None:
        self.table = checked_name(table)
        self._style: Style = style
        self._shared = shared

    def create(self) -> str:
        """Return the statement that makes the table in PostgreSQL, if it is not there."""
        return self._sql("table")

    def insert(self, id: str, raw: bytes) -> Statement:
        """Return the statement that puts one event into the outbox."""
        return Statement(self._sql("insert"), (id, raw))

    def claim(self, rows_max: int = ROWS_MAX) -> Statement:
        """Return the statement that takes the oldest events which nobody else holds."""
        return Statement(self._sql("claim" if self._shared else "claim_alone"), (rows_max,))

    def delete(self, seqs: Sequence[int]) -> Statement:
        """Return the statement that removes what the server has."""
        return Statement(self._sql("delete", len(seqs)), tuple(seqs))

    def refuse(self, seq: int, why: str) -> Statement:
        """Return the statement that makes a row a dead letter."""
        return Statement(self._sql("refuse"), (why, seq))

    def lag(self) -> Statement:
        """Return the statement whose row `lag_of` reads."""
        return Statement(self._sql("lag"))

    def refused(self, limit: int) -> Statement:
        """Return the statement that reads dead letters: seq, id, event, why."""
        return Statement(self._sql("refused"), (limit,))

    def retry(self, seqs: Sequence[int]) -> Statement:
        """Return the statement that lets dead letters wait again."""
        return Statement(self._sql("retry", len(seqs)), tuple(seqs))

    def discard(self, seqs: Sequence[int]) -> Statement:
        """Return the statement that gives dead letters up."""
        return Statement(self._sql("discard", len(seqs)), tuple(seqs))

    def _sql(self, name: str, marks: int = 0) -> str:
        return _rendered(name, self.table, self._style, marks)


def lag_of(row: Sequence[Any]) -> Lag:
    """Return what the row of `Statements.lag` says; SQLite gives times as text."""
    waiting, refused, oldest, now = row
    age = 0.0 if oldest is None else (_moment(now) - _moment(oldest)).total_seconds()
    return Lag(waiting=waiting, oldest_age_seconds=max(0.0, age), refused=refused)


def checked_name(name: str) -> str:
    """Return `name` if it can stand in a statement; Misconfigured otherwise."""
    if not _NAME.fullmatch(name):
        raise Misconfigured(f"{name!r} is not a name of a table that the outbox can use")
    return name


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


@cache
def _bodies() -> dict[str, str]:
    text = resources.files("tallystick.outbox").joinpath("table.sql").read_text(encoding="utf-8")
    pieces = _HEADING.split(text)
    bodies = (_without_sentence(body) for body in pieces[2::2])
    return dict(zip(pieces[1::2], bodies, strict=True))


def _without_sentence(body: str) -> str:
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("-- "))


@cache
def _rendered(name: str, table: str, style: Style, marks: int) -> str:
    sql = _bodies()[name].replace("{outbox}", table).replace("{marks}", ", ".join("?" * marks))
    match style:
        case "question":
            return sql
        case "format":
            return sql.replace("?", "%s")
        case "dollar":
            pieces = sql.split("?")
            return pieces[0] + "".join(f"${n}{piece}" for n, piece in enumerate(pieces[1:], 1))


__all__ = ["ROWS_MAX", "TABLE", "Lag", "Statement", "Statements", "Style", "checked_name", "lag_of"]

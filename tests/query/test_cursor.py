"""A cursor continues the search it came from, on this server, in this log, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.query import Place, Query, parse, read_cursor, write_cursor

KEY = b"k" * 32
NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
PLACE = Place(NOW, 41, 100, NOW - timedelta(days=7))


@dataclass
class Asking:
    """Everything a cursor depends on."""

    parameters: tuple[tuple[str, str], ...] = (("range", "7d"), ("user", "ada"))
    scope: str = "org-1/all"
    key: bytes = KEY
    now: datetime = NOW

    def query(self, cursor: str | None = None) -> Query:
        """Return the query, continued if a cursor is given."""
        more = [] if cursor is None else [("cursor", cursor)]
        return parse([*self.parameters, *more], now=self.now)

    def write(self) -> str:
        """Return a cursor of this search."""
        return write_cursor(PLACE, self.query(), scope=self.scope, key=self.key)

    def read(self, cursor: str) -> Place:
        """Read a cursor as of this search."""
        return read_cursor(self.query(cursor), scope=self.scope, key=self.key)


def test_a_cursor_leads_back_to_its_place() -> None:
    """A next page that begins elsewhere than the last one ended."""
    assert Asking().read(Asking().write()) == PLACE


def test_a_relative_range_keeps_its_cursor_while_time_goes_on() -> None:
    """Paging through "the last seven days" that breaks because a minute has passed."""
    later = Asking(now=NOW + timedelta(minutes=1))
    assert later.read(Asking().write()).since == PLACE.since


def test_another_limit_may_continue() -> None:
    """A page size that cannot be changed on the way."""
    wider = Asking(parameters=(*Asking().parameters, ("limit", "500")))
    assert wider.read(Asking().write()) == PLACE


@pytest.mark.parametrize(
    "other",
    [
        Asking(parameters=(("range", "7d"), ("user", "eve"))),
        Asking(parameters=(("range", "7d"),)),
        Asking(parameters=(("range", "30d"), ("user", "ada"))),
        Asking(parameters=(("range", "7d"), ("user", "ada"), ("order", "oldest"))),
        Asking(parameters=(("range", "7d"), ("user", "ada"), ("q", "-ada"))),
        Asking(scope="org-2/all"),
        Asking(scope="org-1/ws w"),
        Asking(key=b"x" * 32),
    ],
)
def test_a_cursor_of_another_search_is_refused(other: Asking) -> None:
    """A cursor carried to other filters, another log or another workspace."""
    with pytest.raises(Refused) as caught:
        other.read(Asking().write())
    assert caught.value.path == "/cursor"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(at: int, change: int) -> None:
    """A cursor edited by hand that still leads somewhere."""
    from base64 import urlsafe_b64decode, urlsafe_b64encode

    cursor = Asking().write()
    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[at % len(raw)] ^= change
    with pytest.raises(Refused):
        Asking().read(urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())


@given(st.text(min_size=1, max_size=200).filter(lambda text: "\x00" not in text and text.isprintable()))
def test_any_other_text_is_refused(text: str) -> None:
    """A made-up cursor that is taken for one, or that makes the server fail."""
    with pytest.raises(Refused):
        Asking().read(text)

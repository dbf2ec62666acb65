"""The page's state in its address: complete, canonical, never wider than what was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.event.model import OUTCOMES, VERBS
from tallystick.query import filters_of, parse
from tallystick.web.ui.events.columns import COLUMNS, USUAL
from tallystick.web.ui.events.filters import label_of, pairs_of, without, without_keys
from tallystick.web.ui.events.look import read_look, write_look
from tallystick.web.ui.events.state import Look, read_state, spelled

NOW = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)
WORD = st.text(min_size=1, max_size=12).filter(
    lambda text: "\x00" not in text and not text.isspace() and text == text.strip()
)
NEVER = st.sampled_from(["user", "workspace", "target_id", "stream", "request_id"])


@st.composite
def parameters(draw):
    pairs = [(key, draw(WORD)) for key in draw(st.lists(NEVER, max_size=4))]
    pairs += [("outcome", one) for one in draw(st.lists(st.sampled_from(OUTCOMES), max_size=2))]
    pairs += [("verb", one) for one in draw(st.lists(st.sampled_from(VERBS), max_size=2))]
    if draw(st.booleans()):
        pairs.append(("range", "7d"))
    elif draw(st.booleans()):
        pairs.append(("from", "2026-11-01"))
    if draw(st.booleans()):
        pairs.append(("q", '-outcome:unknown -"two words" -action:^x free'))
    return pairs


def state_of(*pairs: tuple[str, str], look: Look | None = None):
    return read_state(pairs, look or Look(), now=NOW)


def again(url: str):
    return read_state(parse_qsl(urlsplit(url).query), Look(), now=NOW)


@given(parameters())
def test_an_address_that_is_written_means_what_was_read(pairs) -> None:
    """A shared link would show other events than the page it was copied from."""
    state = state_of(*pairs)
    assert state.wrong is None
    assert (
        filters_of(again(state.url()).query) == filters_of(state.query) == filters_of(parse(pairs, now=NOW))
    )


@given(parameters())
def test_taking_one_filter_away_takes_only_that_one(pairs) -> None:
    """Removing a chip would change another filter too."""
    state = state_of(*pairs)
    for piece in state.pieces:
        left = again(state.url(pairs_of(without(state.pieces, piece)))).pieces
        assert sorted(map(str, left)) == sorted(str(one) for one in state.pieces if one != piece)
        assert label_of(piece)[0]


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        (("colour", "red"), "colour"), (("from", "2026-02-30"), "from"), (("cols", "time,colour"), "cols"),
        (("density", "huge"), "density"), (("tz", "Mars/Base"), "tz"), (("limit", "0"), "limit"),
        (("from_at", "2026-02-30T10:00"), "from"), (("outcome", "maybe"), "outcome"), (("q", "colour:red"), "colour"),
        (("count", "yes"), "count"), (("live", "no"), "live"), (("col", "colour"), "cols"), (("q", '"'), "q"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_named(pair, named) -> None:
    """A mistyped filter would be dropped and the result widened."""
    state = state_of(("user", "ada"), pair)
    assert isinstance(state.wrong, Refused)
    assert state.wrong.path == f"/{named}"
    assert ("user", "ada") in state.filters


def test_aliases_of_other_products_fill_the_same_fields() -> None:
    """A link made for another product's page would open an empty form."""
    pairs = (
        ("userSearch", "ada"),
        ("projectId", "p"),
        ("actionFilter", "login"),
        ("pageSize", "25"),
        ("period", "7d"),
    )
    state = state_of(*pairs)
    assert state.url() == "/events?action=login&user=ada&project=p&range=7d&limit=25"
    assert spelled(state.filters)["project"] == ["p"]


def test_a_custom_range_is_read_in_the_zone_of_the_page() -> None:
    """A range typed in local time would be an hour off."""
    state = state_of(("tz", "Europe/Berlin"), ("from_at", "2026-11-01T10:00"), ("range", "7d"))
    assert dict(state.filters) == {"from": "2026-11-01T09:00:00Z"}
    exact = state_of(("from", "2026-11-01T09:00:00.5Z"), ("from_at", "2026-11-01T09:00:00"))
    assert dict(exact.filters) == {"from": "2026-11-01T09:00:00.500000Z"}


def test_other_filters_lead_to_their_first_page() -> None:
    """A cursor of another search would be carried along and refused."""
    state = state_of(
        ("cursor", "abc"), ("user", "ada"), ("event", "e1"), ("cols", "time,user"), ("limit", "25")
    )
    assert state.url() == "/events?user=ada&limit=25&cols=time,user"
    assert state.here() == "/events?user=ada&limit=25&cols=time,user&cursor=abc&event=e1"
    assert state.here(event=None) == "/events?user=ada&limit=25&cols=time,user&cursor=abc"
    assert pairs_of(without_keys(state.pieces, "user")) == ()


def test_the_address_overrules_what_is_remembered() -> None:
    """A shared link would show other columns than it says."""
    look = Look(columns=("time", "ip"), density="compact", zone="Europe/Berlin")
    assert state_of(look=look).look == look
    assert state_of(("cols", "user"), look=look).look.columns == ("user",)
    assert state_of(("cols", "user"), look=look).url() == "/events?cols=user"
    assert state_of(look=look).url() == "/events"


@given(
    st.lists(st.sampled_from([column.name for column in COLUMNS]), min_size=1, unique=True),
    st.sampled_from(["comfortable", "compact"]), st.sampled_from(["utc", "Europe/Berlin", "America/Port-au-Prince"]),
)  # fmt: skip
def test_a_look_is_remembered(columns, density, zone) -> None:
    """A chosen column would be forgotten."""
    look = Look(columns=tuple(columns), density=density, zone=zone)
    assert read_look(write_look(look)) == look


@given(st.text(max_size=60))
def test_any_cookie_gives_some_look(value: str) -> None:
    """A cookie of yesterday's version would break the page."""
    assert read_look(value).columns
    assert read_look(None).columns == USUAL

"""The pure parts of the page: chart, names of projects, rows, commands."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.event.moment import instant_text
from tallystick.query import parse
from tallystick.services.buckets import spread, width_for
from tallystick.web.ui.events.chart import TICKS_MAX, chart_of
from tallystick.web.ui.events.moments import zone_of
from tallystick.web.ui.events.projects import Project, labels
from tallystick.web.ui.events.rows import Rows
from tallystick.web.ui.events.snippets import command_line, curl, python
from tallystick.web.ui.events.state import Look, read_state
from tallystick.web.ui.events.values import summary_values
from tallystick.web.ui.render import templates

NOW = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)


def histogram(span: timedelta, counts: list[int]):
    since, until = NOW - span, NOW
    width = width_for(span)
    buckets = spread({}, since, until, width)
    for at, count in enumerate(counts):
        buckets[at % len(buckets)]["success" if at % 3 else "other"] += count
    return {"from": instant_text(since), "to": instant_text(until), "bucket_seconds": int(width.total_seconds()),
            "buckets": buckets, "exact": True}  # fmt: skip


@given(
    st.integers(5, 20 * 366 * 86_400), st.lists(st.integers(0, 10**6), max_size=200),
    st.sampled_from(["utc", "Asia/Kathmandu", "America/St_Johns"]),
)  # fmt: skip
def test_a_chart_says_what_was_counted(seconds: int, counts: list[int], zone: str) -> None:
    """A bar, its number or its place in time would be wrong, or labels would lie over each other."""
    found = chart_of(histogram(timedelta(seconds=seconds), counts), zone_of(zone))
    assert found.total == sum(counts)
    assert f"{found.total:,} events" in found.summary or not found.total
    assert len(found.ticks) <= TICKS_MAX + 2
    assert all(0 < at < 97 for at, _ in found.ticks)
    assert all(before.end == after.start for before, after in zip(found.bars, found.bars[1:], strict=False))
    assert found.bars[0].start.startswith(f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}")
    heights = [
        float(piece.split("V")[1].split("h")[0]) for piece in (found.success + found.other).split("M")[1:]
    ]
    assert all(0 <= top < 100 for top in heights)
    assert (found.success + found.other).count("M") == sum(
        bool(n) for bar in found.bars for n in (bar.success, bar.other)
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from(["Red", "red", "Blue"]), st.sampled_from([None, "X", "Y"])
        ),
        max_size=8,
    )
)
def test_no_two_projects_have_one_name(drawn) -> None:
    """Somebody would look into the wrong project."""
    projects = [
        Project(id=f"{prefix}_{at:09}", name=name, team=team) for at, (prefix, name, team) in enumerate(drawn)
    ]
    called = labels(projects)
    assert len({text.casefold() for text in called.values()}) == len(projects)


def test_a_name_is_no_longer_than_it_must_be() -> None:
    """Every project would carry its team and id."""
    called = labels([
        Project(id="p1", name="Red", team="X"), Project(id="p2", name="Red", team="Y"), Project(id="p3", name="Blue", team="X"),
        Project(id="ws_aaaaaaaa", name="Grey"), Project(id="ws_bbbbbbbb", name="Grey"), Project(id="only-an-id"),
    ])  # fmt: skip
    assert called == {"p1": "Red · X", "p2": "Red · Y", "p3": "Blue", "ws_aaaaaaaa": "Grey · aaaaaaaa",
                      "ws_bbbbbbbb": "Grey · bbbbbbbb", "only-an-id": "only-an-id"}  # fmt: skip


EVENT = {
    "id": "01a1ff0c-7dde-7da9-bd3f-b71720e1c028", "position": 7, "action": "login", "outcome": "denied", "stream": "platform",
    "occurred_at": "2026-11-21T15:00:00.000000Z", "received_at": "2026-11-21T15:00:01.000000Z", "source": "key:k",
    "organization": "o", "actor": {"type": "user", "id": "u&1", "name": "Ada"}, "targets": [{"type": "user", "id": "u=2"}],
    "context": {"ip": "192.0.2.1", "request_id": "r 1"}, "error": {"code": "E1"},
}  # fmt: skip


def test_every_link_of_a_row_finds_the_row_again() -> None:
    """A click on a value would find something else than that value."""
    state = read_state([("user", "ada"), ("outcome", "denied"), ("q", "-type:read")], Look(), now=NOW)
    row = Rows(state, {}, NOW).row(EVENT)
    for value in (
        row.action,
        row.who,
        row.stream,
        row.actor_type,
        row.target_type,
        row.target_id,
        row.ip,
        row.outcome,
        row.project,
        row.request_id,
    ):
        assert value is not None
        pairs = parse_qsl(urlsplit(value.href).query)
        query = parse(pairs, now=NOW)
        key = {"project": "workspace"}.get(value.key, value.key)
        wanted = "-" if key == "workspace" else "^login$" if key == "action" else value.text
        assert (query.values(key) or ("",)) == (wanted if key != "actor_id" else "u&1",)
        assert query.never_values("verb") == ("read",)
    assert row.href == "/events?user=ada&outcome=denied&q=-type:read&event=" + EVENT["id"]


@pytest.mark.parametrize("kind", ["system", "anonymous"])
def test_somebody_without_a_name_is_not_blank(kind: str) -> None:
    """A row would have nobody in it."""
    row = Rows(read_state([], Look(), now=NOW), {}, NOW).row({**EVENT, "actor": {"type": kind}})
    assert row.is_system
    assert row.name in ("System", "Anonymous")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda text: "\x00" not in text
    )
)
def test_commands_carry_any_value_unbroken(value: str) -> None:
    """A value with a quote in it would run as a command of whoever pastes it."""
    words = shlex.split(command_line("http://localhost:1", [("user", value)]))
    assert words == ["tallystick", "search", "--user", value, "--url", "http://localhost:1"]
    url = shlex.split(curl("http://localhost:1", [("project", value)]))[-1]
    assert parse_qsl(urlsplit(url).query) == [("workspace", value)]
    compile(python("http://localhost:1", [("user", value)]), "pasted", "exec")


def test_a_late_chart_belongs_to_one_search() -> None:
    """The chart of what was typed before would take the place of the chart of what is typed now."""
    states = [read_state([("user", name)], Look(), now=NOW) for name in ("ines", "ines c", "ines")]
    pages = [
        templates().get_template("events/summary.html").render(**summary_values(state, None, None), me=None)
        for state in states
    ]
    ids = [page.partition('id="')[2].partition('"')[0] for page in pages]
    assert ids[0] == ids[2] != ids[1]
    assert all(one.startswith("summary-") for one in ids)

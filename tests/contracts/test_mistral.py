"""Mistral's contract, held against every event of the log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.conftest import Seeded
from contracts.seed import ACTIONS
from contracts.test_shapes import check_mistral

PATH = "/v1/admin/audit-logs"
TYPES = {"user": "HUMAN", "api_key": "API_KEY"}


def read_all(seeded: Seeded, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Read page after page by the Link header."""
    answer = seeded.get(PATH, params)
    found: list[dict[str, Any]] = []
    while True:
        assert answer.status_code == 200, answer.text
        assert isinstance(answer.json(), list)
        assert len(answer.json()) <= params.get("limit", 20)
        found += answer.json()
        link = answer.headers.get("link")
        if link is None:
            return found
        match = re.fullmatch(r'<(.*)>; rel="next"', link)
        assert match is not None
        answer = seeded.get(match[1])


@pytest.mark.parametrize("limit", [1, 13, 1000])
@pytest.mark.parametrize("sort", ["ascending", "descending", None])
def test_every_page(seeded: Seeded, limit: int, sort: str | None) -> None:
    """A page that repeats or skips an entry makes an auditor's copy wrong."""
    params: dict[str, Any] = {"limit": limit} if sort is None else {"limit": limit, "sort": sort}
    expected = seeded.newest_first()
    if sort == "ascending":
        expected.reverse()
    assert read_all(seeded, params) == [check_mistral(event) for event in expected]


def test_the_plain_answer(seeded: Seeded) -> None:
    """A client that knows no Link header gets the newest twenty, as a bare array, under both paths."""
    expected = [one["position"] for one in seeded.newest_first()[:20]]
    for path in (PATH, "/api/admin/audit-logs"):
        found = seeded.server.client(None).get(path, headers={"x-api-key": seeded.key}).json()
        assert [one["log_id"] for one in found] == expected


TIMES = ["1969-12-31T23:59:59.999999Z", "2026-01-05T12:00:00Z", "2026-01-05T12:01:00.000001Z",
         "2026-01-05T12:05:01Z", "9999-12-31T23:59:59.999999Z"]  # fmt: skip
filters = st.fixed_dictionaries(
    {},
    optional={
        "actor_type[]": st.lists(st.sampled_from(["HUMAN", "API_KEY", "OTHER"]), min_size=1, max_size=2),
        "event_type[]": st.lists(st.sampled_from([*ACTIONS, "none"]), min_size=1, max_size=6),
        "target_type[]": st.lists(
            st.sampled_from(["API_KEY", "WORKSPACE", "DATASET", "SHARED_RESOURCE", "USER", "PROMPT", "WALLET"]),
            min_size=1, max_size=2,
        ),
        "actor_user_uuid": st.sampled_from(["usr_ada", "usr_bob", "key_shared", "nobody"]),
        "after": st.sampled_from(TIMES),
        "before": st.sampled_from(TIMES),
    },
)  # fmt: skip


def fits(event: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether Mistral would show `event` for these filters."""
    at, actor = datetime.fromisoformat(event["occurred_at"]), event["actor"]
    shown = check_mistral(event)
    return (
        TYPES.get(actor["type"], "OTHER") in asked.get("actor_type[]", ["HUMAN", "API_KEY", "OTHER"])
        and event["action"] in asked.get("event_type[]", [event["action"]])
        and shown["target_type"] in asked.get("target_type[]", [shown["target_type"]])
        and ("actor_user_uuid" not in asked or shown["actor_metadata"].get("user_uuid") == asked["actor_user_uuid"])
        and ("after" not in asked or at > datetime.fromisoformat(asked["after"]))
        and ("before" not in asked or at < datetime.fromisoformat(asked["before"]))
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(asked=filters, limit=st.sampled_from([9, 100]))
def test_filters(seeded: Seeded, asked: dict[str, Any], limit: int) -> None:
    """A filter shows exactly the entries that are shown under what it asks for."""
    expected = [one["position"] for one in seeded.newest_first() if fits(one, asked)]
    assert [one["log_id"] for one in read_all(seeded, {**asked, "limit": limit})] == expected


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"actor_type[]": "ROBOT"}, ("actor_type", "enum")),
        ({"target_type": "NOTHING"}, ("target_type", "enum")),
        ({"sort": "newest"}, ("sort", "enum")),
        ({"after": "then"}, ("after", "datetime_parsing")),
        ({"limit": -1}, ("limit", "greater_than_equal")),
        ({"event_types[]": "user.create"}, ("event_types[]", "extra_forbidden")),
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, Any], problem: tuple[str, str]) -> None:
    """A parameter that cannot be used is refused in FastAPI's shape and never ignored."""
    answer = seeded.get(PATH, params)
    assert answer.status_code == 422, answer.text
    (found,) = answer.json()["detail"]
    assert (found["loc"], found["type"]) == (["query", problem[0]], problem[1])


def test_cursors_are_bound(seeded: Seeded) -> None:
    """A cursor of another question or organization shows no entry."""
    link = seeded.get(PATH, {"limit": 5}).headers["link"]
    cursor = link.partition("cursor=")[2].partition(">")[0]
    assert seeded.get(PATH, {"limit": 5, "cursor": cursor}).status_code == 200
    for params in ({"cursor": cursor, "actor_type": "HUMAN"}, {"cursor": cursor, "sort": "ascending"},
                   {"cursor": cursor[:-2]}):  # fmt: skip
        assert seeded.get(PATH, params).status_code == 400, params
    foreign = seeded.server.client(seeded.other_key).get(PATH, params={"cursor": cursor})
    assert (foreign.status_code, set(foreign.json())) == (400, {"detail"})


def test_start_after_end_is_empty(seeded: Seeded) -> None:
    """A range that holds nothing is answered with nothing."""
    params = {"after": "2026-01-30T00:00:00Z", "before": "2026-01-01T00:00:00Z"}
    assert seeded.get(PATH, params).json() == []

"""Anthropic's contract, held against every event of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.conftest import Seeded
from contracts.seed import ACTIONS
from contracts.test_shapes import check_anthropic

PATH = "/v1/compliance/activities"
HEADERS = {"anthropic-version": "2023-06-01"}


def read_all(seeded: Seeded, params: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Read page after page as the documentation says: last_id as after_id until has_more is false."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = seeded.get(PATH, {**params, "limit": limit, **after}, headers=HEADERS)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert set(page) == {"data", "has_more", "first_id", "last_id"}
        found += page["data"]
        if not page["has_more"]:
            return found
        assert [page["first_id"], page["last_id"]] == [page["data"][0]["id"], page["data"][-1]["id"]]
        after = {"after_id": page["last_id"]}


@pytest.mark.parametrize("limit", [1, 13, 5000])
def test_every_page(seeded: Seeded, limit: int) -> None:
    """A page that repeats or skips an activity makes a compliance archive wrong."""
    found = read_all(seeded, {}, limit)
    expected = seeded.newest_first()
    assert [one["id"] for one in found] == [one["id"] for one in expected]
    for shown, event in zip(found, expected, strict=True):
        assert {key: value for key, value in check_anthropic(event).items() if key != "changes"} == shown


TIMES = ["1969-12-31T23:59:59.999999Z", "2026-01-05T12:00:00Z", "2026-01-05T12:01:00.000001Z",
         "2026-01-05T13:03:00.001+01:00", "2026-01-05T12:05:01Z", "9999-12-31T23:59:59.999999Z"]  # fmt: skip
filters = st.fixed_dictionaries(
    {},
    optional={
        "activity_types[]": st.lists(st.sampled_from([*ACTIONS, "none"]), min_size=1, max_size=4),
        "exclude_activity_types[]": st.lists(st.sampled_from([*ACTIONS, "none"]), min_size=1, max_size=9),
        "actor_ids[]": st.lists(
            st.sampled_from(["usr_ada", "usr_bob", "key_shared", "svc_1", "nobody"]), min_size=1, max_size=2
        ),
        **{f"created_at.{bound}": st.sampled_from(TIMES) for bound in ("gt", "gte", "lt", "lte")},
    },
)


def fits(event: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether Anthropic would show `event` for these filters."""
    at = datetime.fromisoformat(event["occurred_at"])
    bounds = {
        key.removeprefix("created_at."): datetime.fromisoformat(text)
        for key, text in asked.items()
        if key.startswith("created_at.")
    }
    return (
        event["action"] in asked.get("activity_types[]", [event["action"]])
        and event["action"] not in asked.get("exclude_activity_types[]", [])
        and ("actor_ids[]" not in asked or event["actor"].get("id") in asked["actor_ids[]"])
        and ("gt" not in bounds or at > bounds["gt"])
        and ("gte" not in bounds or at >= bounds["gte"])
        and ("lt" not in bounds or at < bounds["lt"])
        and ("lte" not in bounds or at <= bounds["lte"])
    )


@settings(max_examples=50, deadline=None)
@given(asked=filters, limit=st.sampled_from([9, 100]))
def test_filters(seeded: Seeded, asked: dict[str, Any], limit: int) -> None:
    """A filter shows exactly the activities that fit it, each bound of time as it is named."""
    expected = [one["id"] for one in seeded.newest_first() if fits(one, asked)]
    assert [one["id"] for one in read_all(seeded, asked, limit)] == expected


@pytest.mark.parametrize("name", ["created_at.gte", "created_at[gte]", "created_at%5Bgte%5D"])
def test_both_spellings_of_bounds(seeded: Seeded, name: str) -> None:
    """A bound that is not seen would show everything."""
    answer = seeded.get(f"{PATH}?{name}=2026-01-05T12:05:00Z&limit=1000").json()
    expected = [one for one in seeded.events if one["occurred_at"] >= "2026-01-05T12:05:00.000000Z"]
    assert len(answer["data"]) == len(expected) < len(seeded.events)


def test_before_leads_back(seeded: Seeded) -> None:
    """`before_id` shows the very page one came from."""
    order = [one["id"] for one in seeded.newest_first()]
    page = seeded.get(PATH, {"before_id": order[30], "limit": 10}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (order[20:30], True)
    first = seeded.get(PATH, {"before_id": order[4], "limit": 10}).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (order[:4], False)


def test_organizations(seeded: Seeded) -> None:
    """Another organization's activities are not there to be filtered for."""
    own = str(seeded.server.organization_id)
    both = seeded.get(PATH, {"organization_ids[]": [own, "org_other"], "limit": 5000}).json()
    assert len(both["data"]) == len(seeded.events)
    assert seeded.get(PATH, {"organization_ids[]": "org_other"}).json()["data"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 5001},
        {"after_id": "activity_1"},
        {"created_at.gt": "soon"},
        {"created_at.above": "2026-01-01T00:00:00Z"},
        {"activity_type": "x"},
        {"activity_types[]": ""},
        {"after_id": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, Any]) -> None:
    """A parameter that cannot be used is refused in Anthropic's shape and never ignored."""
    answer = seeded.get(PATH, params)
    body = answer.json()
    assert answer.status_code == 400, answer.text
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["request_id"].startswith("req_")


def test_foreign_ids_and_errors(seeded: Seeded) -> None:
    """An id of another organization shows nothing; errors have Anthropic's types."""
    foreign = seeded.server.client(seeded.other_key).get(PATH, params={"after_id": seeded.events[0]["id"]})
    assert (foreign.status_code, foreign.json()["error"]["type"]) == (400, "invalid_request_error")
    order = [one["id"] for one in seeded.newest_first()]
    assert seeded.get(PATH, {"after_id": order[0], "before_id": order[4]}).status_code == 400
    for key, status, kind in (
        ("tst_wrong", 401, "authentication_error"),
        (seeded.server.write_key, 403, "permission_error"),
    ):
        answer = seeded.server.client(None).get(PATH, headers={"x-api-key": key})
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)

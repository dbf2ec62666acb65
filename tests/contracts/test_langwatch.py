"""LangWatch's pull, by its compound cursor and by ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.conftest import Seeded
from ocsf.validity import errors
from own_events import settle
from server import Servers, event
from tallystick.ocsf import leaf_hash_of

PATH = "/api/governance/ocsf"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(event: dict[str, Any]) -> int:
    """Return the millisecond an event occurred in."""
    return (datetime.fromisoformat(event["occurred_at"]) - EPOCH) // timedelta(milliseconds=1)


def in_order(seeded: Seeded) -> list[tuple[int, str]]:
    """Return (millisecond, id) of all events, in LangWatch's order."""
    return sorted((milliseconds(one), one["id"]) for one in seeded.events)


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 1000])
def test_the_compound_cursor(seeded: Seeded, limit: int) -> None:
    """A page that ends within a millisecond must neither skip nor repeat its other events."""
    found: list[tuple[int, str]] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = seeded.get(PATH, params).json()
        assert set(page) == {"events", "nextCursor", "nextCursorCompound"}
        if not page["events"]:
            assert (page["nextCursor"], page["nextCursorCompound"]) == (None, None)
            break
        assert len(page["events"]) <= limit
        ids = [one["metadata"]["uid"] for one in page["events"]]
        by_id = {one["id"]: milliseconds(one) for one in seeded.events}
        found += [(by_id[uid], uid) for uid in ids]
        compound = page["nextCursorCompound"]
        assert compound == {"eventTimeMs": page["nextCursor"], "eventId": ids[-1]}
        params = {"limit": limit, "since_ms": compound["eventTimeMs"], "since_event_id": compound["eventId"]}
    assert found == in_order(seeded)


def test_a_millisecond_alone_is_inclusive(seeded: Seeded) -> None:
    """Without an id the whole millisecond comes: a consumer that keeps only the number may see events twice."""
    order = in_order(seeded)
    start = order[len(order) // 2][0]
    page = seeded.get(PATH, {"since_ms": start, "limit": 1000}).json()
    assert [one["metadata"]["uid"] for one in page["events"]] == [uid for at, uid in order if at >= start]


def test_events_are_valid_and_tied(seeded: Seeded) -> None:
    """Every event is valid OCSF 1.1.0 and names the leaf it can be verified by."""
    page = seeded.get(PATH, {"limit": 1000}).json()
    positions = set()
    for rendered in page["events"]:
        assert rendered["metadata"]["version"] == "1.1.0"
        assert errors(rendered) == []
        position, leaf_hash = leaf_hash_of(rendered)
        assert len(leaf_hash) == 32
        positions.add(position)
    assert positions == set(range(len(seeded.events)))


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_the_cursor_by_position(seeded: Seeded, limit: int) -> None:
    """By position every event comes once, and the cursor stays good at the end."""
    found: list[int] = []
    cursor = "start"
    while True:
        page = seeded.get(PATH, {"cursor": cursor, "limit": limit}).json()
        found += [one["metadata"]["sequence"] for one in page["events"]]
        if not page["events"]:
            assert seeded.get(PATH, {"cursor": page["cursor"]}).json()["events"] == []
            break
        cursor = page["cursor"]
    assert found == list(range(len(seeded.events)))


def test_a_late_event(servers: Servers, database: Any) -> None:
    """An event that arrives after its time was passed is missed by time, as at LangWatch, and never by position."""
    server = servers.start(database=database.logins.owner)
    # Not the admin key: its use is recorded beside the answer, and would be one more event.
    client = server.client(server.key("read", "write"))
    settle(server)
    client.post("/v1/events", json=event(occurred_at="2026-05-01T00:00:00Z"))
    by_time = client.get(PATH).json()["nextCursorCompound"]
    by_position = client.get(PATH, params={"cursor": "start"}).json()["cursor"]
    late = client.post("/v1/events", json=event(occurred_at="2026-04-01T00:00:00Z")).json()
    params = {"since_ms": by_time["eventTimeMs"], "since_event_id": by_time["eventId"]}
    assert client.get(PATH, params=params).json()["events"] == []
    (found,) = client.get(PATH, params={"cursor": by_position}).json()["events"]
    assert found["metadata"]["uid"] == late["id"]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 1001},
        {"since_ms": "then"},
        {"since_ms": 10**17},
        {"since_event_id": "00000000-0000-4000-8000-000000000000"},
        {"since_ms": 0, "since_event_id": "event-1"},
        {"cursor": "start", "since_ms": 0},
        {"cursor": "7"},
        {"sinceMs": 0},
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, Any]) -> None:
    """A parameter that cannot be used is refused in LangWatch's shape and never ignored."""
    answer = seeded.get(PATH, params)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error", "message"}


def test_cursors_of_others(seeded: Seeded) -> None:
    """A cursor of another organization or workspace is refused; a workspace's key pulls its own events only."""
    cursor = seeded.get(PATH, {"cursor": "start", "limit": 5}).json()["cursor"]
    other = seeded.server.client(seeded.other_key)
    assert other.get(PATH, params={"cursor": cursor}).status_code == 400
    seen = other.get(PATH, params={"cursor": "start"}).json()["events"]
    assert not {one["metadata"]["uid"] for one in seen} & {one["id"] for one in seeded.events}
    inside = seeded.server.client(seeded.server.key("auditLogs:read", workspace="ws_2"))
    assert inside.get(PATH, params={"cursor": cursor}).status_code == 400
    own = {one["id"] for one in seeded.events if one.get("workspace") == "ws_2"}
    for params in ({"limit": 1000}, {"cursor": "start", "limit": 1000}):
        events = inside.get(PATH, params=params).json()["events"]
        assert {one["metadata"]["uid"] for one in events} == own

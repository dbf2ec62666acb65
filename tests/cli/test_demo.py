"""The demo's week."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tallystick.catalogue import lookup
from tallystick.cli.demo import week
from tallystick.event.prepare import prepare
from tallystick.event.redact import Redaction

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_the_week_is_whole_ordered_and_past() -> None:
    """The demo would show events of tomorrow, or skip a day."""
    times = [datetime.fromisoformat(event["occurred_at"]) for event in week(NOON)]
    assert times == sorted(times)
    assert times[-1] < NOON
    assert len({at.date() for at in times}) >= 7
    assert times[0] > NOON - timedelta(days=8)
    assert len(times) > 3000


def test_every_event_is_accepted_and_known() -> None:
    """A newcomer would see refused events, or actions without a title."""
    events = week(NOON)
    assert len({event["id"] for event in events}) == len(events)
    for event in events:
        assert lookup(event["action"]) is not None, event["action"]
        found = prepare(json.dumps(event).encode(), redaction=Redaction(key=b"k" * 32), new_id=lambda: 1 / 0)  # type: ignore[arg-type,return-value]
        assert not found.flags, (event, found.flags)


def test_the_story_can_be_found() -> None:
    """The night that the demo tells of would be missing from it."""
    stolen = [event for event in week(NOON) if event.get("context", {}).get("ip") == "203.0.113.77"]
    assert sum(event.get("outcome") == "failure" for event in stolen) == 23
    assert {"create_api_key", "create_bulk_export"} <= {event["action"] for event in stolen}

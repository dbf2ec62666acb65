"""From the producer's bytes to the log and back: what is shown is what was sent."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from tallystick.event.address import read_ip
from tallystick.event.model import Event, RecordedEvent
from tallystick.event.prepare import prepare_event
from tallystick.event.projection import projection
from tallystick.event.render import render
from tallystick.event.schema import json_schema
from tallystick.event.secret_names import is_secret_name
from tallystick.event.secret_patterns import suspicious

from .making import MADE_ID, NOW, ORGANIZATION, REDACTION, SOURCE, body, prepared, refs_for, sealed, shown
from .strategies import events, odd_events

_SERVER_SIDE = {"position", "organization", "received_at", "source", "redacted", "flags", "changes"}


def expected(event: dict[str, Any]) -> dict[str, Any]:
    """Return what has to be shown of an honest event, the server's own fields apart."""
    result = {"stream": "platform", "outcome": "success", "targets": [], "id": str(MADE_ID)} | copy.deepcopy(
        event
    )
    result["occurred_at"] = event.get("occurred_at", "2026-06-01T12:00:00.654321Z")
    context = result.get("context", {})
    if "ip" in context:
        context["ip"] = read_ip(context["ip"])[0] or context["ip"]
    if not context:
        result.pop("context", None)
    if result["actor"].get("on_behalf_of") == []:
        del result["actor"]["on_behalf_of"]
    return result


@given(events())
@settings(max_examples=200)
def test_what_was_sent_is_shown(event: dict[str, Any]) -> None:
    """An honest event must come back complete and unchanged, absent fields absent, nothing turned into nothing."""
    result = shown(event)
    if not result.get("redacted"):
        assert {k: v for k, v in result.items() if k not in _SERVER_SIDE} == expected(event)
    assert (result["organization"], result["source"]) == (str(ORGANIZATION), SOURCE)


@given(events())
@settings(max_examples=100)
def test_an_honest_event_has_few_flags(event: dict[str, Any]) -> None:
    """A flag on an event with nothing odd in it would teach people to ignore flags."""
    result = shown(event)
    kinds = {flag["kind"] for flag in result.get("flags", [])}
    assert kinds <= {"backdated", "clock_skew", "ip_invalid", "ip_port"}
    if not any(suspicious(text) or is_secret_name(text) for text in _texts(event)):
        assert "redacted" not in result


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


@given(odd_events)
@settings(max_examples=150)
def test_columns_agree_with_what_is_prepared(event: dict[str, Any]) -> None:
    """A verifier recomputes the columns from the log: they must be those the append wrote."""
    ready = prepared(event)
    row = sealed(ready)
    columns = projection(row.leaf, row.opening)
    assert columns.organization_id == ORGANIZATION
    assert columns.received_at == NOW
    assert columns.occurred_at == row.occurred_at == (ready.occurred_at or NOW)
    assert columns.actor_ref == refs_for(ready)[0]
    for name in (
        "id", "actor_type", "action", "outcome", "stream", "workspace", "target_type", "target_id",
        "more_targets", "ip", "request_id",
    ):  # fmt: skip
        assert getattr(columns, name) == getattr(ready, name), name


@given(odd_events)
@settings(max_examples=100)
def test_every_event_is_json_and_of_the_declared_form(event: dict[str, Any]) -> None:
    """What the API shows must be JSON any language reads, in the form that is declared, whatever was sent."""
    result = shown(event)
    written = json.dumps(result, allow_nan=False)
    assert not any("\0" in text for text in _texts(result))
    assert not any("\ud800" <= character <= "\udfff" for text in _texts(result) for character in text)
    msgspec.convert(json.loads(written), RecordedEvent)
    datetime.fromisoformat(result["occurred_at"])


@given(odd_events)
@settings(max_examples=100)
def test_what_is_shown_can_be_sent_again(event: dict[str, Any]) -> None:
    """Redaction and cleaning must be stable: an export that is imported again must not change further."""
    first = shown(event)
    again = {name: value for name, value in first.items() if name not in _SERVER_SIDE}
    second = shown(again)
    assert {k: v for k, v in second.items() if k not in _SERVER_SIDE} == again


@given(events())
@settings(max_examples=60)
def test_events_made_in_process(event: dict[str, Any]) -> None:
    """The server's own events must go through the same checks as those of others."""
    declared = msgspec.convert(event, Event)
    made = prepare_event(declared, redaction=REDACTION, new_id=lambda: MADE_ID)
    assert made.sealed == prepared(msgspec.json.encode(declared)).sealed
    assert render(sealed(made).leaf, sealed(made).opening, 0)["action"] == event["action"]


@given(events())
@settings(max_examples=60)
def test_the_schema_accepts_what_the_server_accepts(event: dict[str, Any]) -> None:
    """A producer who validates before sending must not be told that an accepted event is wrong."""
    Draft202012Validator(json_schema()).validate(event)
    prepared(body(event))

"""Every event renders, and every rendering is valid OCSF."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalogue.load import catalogue
from tallystick.event.model import ACTOR_TYPES
from tallystick.ocsf import VIEWS, langsmith_item, render

from .operations import TIED, event, target
from .random_events import ACTIONS, events
from .validity import blanks, errors, errors_by_the_reference

VERSIONS = ("1.7.0", "1.1.0")

RICH: dict[str, Any] = {
    "actor": {
        "type": "user",
        "id": "usr-alice",
        "name": "alice",
        "email": "alice@example.com",
        "credential_id": "pat-1",
        "roles": {"organization": "OWNER", "workspace": "ADMIN"},
        "on_behalf_of": [{"type": "agent", "id": "agt-1"}],
    },
    "targets": [
        target("user", "usr-bob", "bob@example.com"),
        target("workspace", "ws-1"),
        target("role", "r-1"),
    ],
    "workspace": "ws-1",
    "outcome": "denied",
    "error": {"type": "Forbidden", "code": "E403", "message": "not yours"},
    "context": {
        "ip": "2001:db8::7",
        "user_agent": "curl/8",
        "request_id": "req-1",
        "session_id": "ses-1",
        "trace_id": "trc-1",
        "http": {"method": "PATCH", "path": "/x", "status": 403},
        "location": {"country": "CH", "city": "Zürich"},
    },
    "before": {"active": True, "version": 1, "n": None},
    "after": {"active": False, "version": 2},
    "metadata": {"is_mfa": True, "auth_protocol": "ldap", "client_port": 1, "server": {"hostname": "h"}},
    "redacted": ["/after/key"],
    "flags": [{"path": "/context/ip", "kind": "ip_port"}],
}
POOR: dict[str, Any] = {"actor": {"type": "anonymous"}}


def all_renderings(neutral: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a neutral event in both versions and all views."""
    return [render(neutral, version=version, view=view, **TIED) for version in VERSIONS for view in VIEWS]


def wrong(rendered: dict[str, Any]) -> list[str]:
    """Return everything wrong with a rendering, with the blanks that no export may have."""
    return errors(rendered) + [f"{path} is null or empty" for path in blanks(rendered)]


@pytest.mark.parametrize("product", sorted(catalogue()))
def test_every_known_action_is_valid(product: str) -> None:
    """An action of any catalogue, told in full or with nothing but its name, makes no invalid OCSF event."""
    for action in catalogue()[product].actions:
        for shape in (RICH, POOR):
            for rendered in all_renderings(event(action, **shape)):
                assert wrong(rendered) == [], (action, rendered["metadata"]["version"], rendered["class_uid"])


def test_the_reference_validator_agrees() -> None:
    """The reference validator, too slow for all of them, finds nothing in a sample either."""
    for action in ACTIONS[::40]:
        for rendered in all_renderings(event(action, **RICH)):
            assert errors_by_the_reference(rendered) == []


@settings(max_examples=200)
@given(events)
def test_any_event_is_valid(neutral: dict[str, Any]) -> None:
    """No event the log can hold, however odd, makes an invalid OCSF event or one that JSON cannot carry."""
    for rendered in all_renderings(neutral):
        encoded = msgspec.json.encode(rendered)
        decoded = msgspec.json.decode(encoded)
        assert wrong(decoded) == []
        assert decoded == rendered


@settings(max_examples=100)
@given(events)
def test_any_event_is_a_langsmith_item(neutral: dict[str, Any]) -> None:
    """No event the log can hold makes the LangSmith contract fail."""
    msgspec.json.encode(langsmith_item(neutral, **TIED))


@given(events, st.sampled_from(ACTOR_TYPES))
@settings(max_examples=50)
def test_rendering_changes_nothing(neutral: dict[str, Any], actor_type: str) -> None:
    """Rendering an event leaves the event as it was, so that it can be rendered again."""
    neutral["actor"]["type"] = actor_type
    before = msgspec.json.encode(neutral)
    all_renderings(neutral)
    langsmith_item(neutral, **TIED)
    assert msgspec.json.encode(neutral) == before


@pytest.mark.parametrize(
    "action", ["create_api_key", "update_workspace_member", "create_bulk_export", "anomaly.alert"]
)
def test_the_largest_event_is_valid(action: str) -> None:
    """A hundred targets and states as large as an event may be make no invalid OCSF event."""
    neutral = event(
        action,
        **RICH
        | {
            "targets": [target("api_key", f"key-{index}" + "x" * 500, "n" * 1_024) for index in range(100)],
            "before": {"text": "b" * 100_000},
            "after": ["a" * 100_000],
            "metadata": {
                "role": "r" * 100_000,
                "finding": {"title": "t" * 100_000, "description": "d" * 100_000},
            },
        },
    )
    for rendered in all_renderings(neutral):
        assert wrong(rendered) == []


@pytest.mark.parametrize("with_chain", [True, False])
@pytest.mark.parametrize("actor_type", ACTOR_TYPES)
@pytest.mark.parametrize("left", [{}, {"id": "x"}, {"name": "x"}, {"credential_id": "x"}])
def test_every_actor_is_valid(actor_type: str, left: dict[str, str], with_chain: bool) -> None:
    """An actor of any type, with whatever erasure left of it, is still one OCSF accepts."""
    actor: dict[str, Any] = {"type": actor_type, **left}
    if with_chain:
        actor["on_behalf_of"] = [{"type": kind, "id": f"{kind}-1"} for kind in ACTOR_TYPES]
    for action in ("create_api_key", "login", "update_workspace_member", "trace.publish", "audit_log.export"):
        for rendered in all_renderings(event(action, actor=actor, erased=["actor/id"])):
            assert wrong(rendered) == []
            assert rendered["unmapped"].get("on_behalf_of") == actor.get("on_behalf_of")

"""The reference meaning itself, said in examples that a person can check."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tallystick.query import matches, parse

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "action": "API_Key.create",
    "outcome": "denied",
    "stream": "platform",
    "workspace": "ws-1",
    "occurred_at": "2026-11-20T10:00:00.000000Z",
    "actor": {"type": "user", "id": "usr_1", "name": "Ada Lovelace", "email": "ada@example.com"},
    "targets": [{"type": "api_key", "id": "k-1"}, {"type": "project", "id": "p-1"}],
    "context": {"ip": "192.0.2.1", "request_id": "req_1"},
}
NOBODY = {**EVENT, "actor": {"type": "anonymous", "name": "ÄDA", "email": "EVE@example.com"}, "targets": []}
ORGANIZATION_LEVEL = {key: value for key, value in EVENT.items() if key not in ("workspace", "context")}


def fits(event: dict[str, Any], *parameters: tuple[str, str]) -> bool:
    """Tell whether the event fits; its actor was once called Augusta."""
    query = parse(list(parameters), now=NOW)
    return matches(
        query, event, verb_of=lambda action: "create", known_as=lambda e: ["usr_1", "Ada Lovelace", "Augusta"]
    )


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        (
            "action",
            ["key", "^api_key", "CREATE$", "^api_key.create$"],
            ["^key", "api$", "^api_key.creat$", "zzz"],
        ),
        ("user", ["ada", "LOVE", "augusta", "usr_1"], ["example.org", "grace"]),
        ("actor_type", ["user"], ["agent"]),
        ("actor_id", ["usr_1"], ["usr", "USR_1"]),
        ("workspace", ["ws-1"], ["-", "ws"]),
        ("stream", ["platform"], ["plat"]),
        ("outcome", ["denied"], ["failure"]),
        ("target_type", ["api_key", "project"], ["key"]),
        ("target_id", ["k-1", "p-1"], ["k"]),
        ("verb", ["create"], ["read"]),
        ("ip", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2"]),
        ("request_id", ["req_1"], ["req"]),
        (
            "q",
            ["ada augusta", "k-1", "p-1", "api", "lovelace -grace"],
            ["project", "K-1", "ada -key", "grace"],
        ),
        ("from", ["2026-11-20T10:00:00Z"], ["2026-11-20T10:00:00.000001Z"]),
        ("to", ["2026-11-20T10:00:00.000001Z"], ["2026-11-20T10:00:00Z"]),
    ],
)
def test_each_filter_keeps_what_it_says(key: str, good: list[str], bad: list[str]) -> None:
    """A filter that keeps too much or too little."""
    for value in good:
        assert fits(EVENT, (key, value)), value
    for value in bad:
        assert not fits(EVENT, (key, value)), value
        if key not in ("q", "from", "to"):
            assert fits(EVENT, ("q", f"-{key}:{value}"))
            assert fits(EVENT, (key, value), (key, good[0]))


def test_type_and_id_of_a_target_are_of_the_same_target() -> None:
    """A search for key p-1 that finds an event with key k-1 and project p-1."""
    assert fits(EVENT, ("target_type", "project"), ("target_id", "p-1"))
    assert not fits(EVENT, ("target_type", "api_key"), ("target_id", "p-1"))


def test_an_actor_without_an_id_is_known_by_its_event_alone() -> None:
    """Every anonymous failure that is shown for the name in one of them."""
    assert not fits(NOBODY, ("user", "augusta"))
    assert fits(NOBODY, ("user", "eve"))
    assert fits(NOBODY, ("user", "DA"))
    assert not fits(NOBODY, ("user", "äda"))
    assert not fits(NOBODY, ("actor_id", "usr_1"))


def test_absent_values_fit_nothing_but_their_absence() -> None:
    """An event without a workspace, address or request that is found by one."""
    assert fits(ORGANIZATION_LEVEL, ("workspace", "-"))
    assert not fits(ORGANIZATION_LEVEL, ("ip", "192.0.2.1"))
    assert fits(ORGANIZATION_LEVEL, ("q", "-ip:192.0.2.1 -request_id:req_1 -workspace:ws-1"))

"""Events of every origin: each product's own names, every kind of actor, ties in time, and what nobody expects."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ACTIONS = (
    "create_api_key", "delete_dataset", "update_sso_settings", "api_key.created", "user.added", "login.failed",
    "role.bound_to_resource", "tenant.user.invited", "claude_chat_created", "sso_login_initiated", "api_key.create",
    "workspace.update", "le_chat.conversation.deleted", "prompt.update", "datasetRunItem.create", "project", "id",
    "Create_Api_Key", "own.thing_done",
)  # fmt: skip
ACTORS: tuple[dict[str, Any], ...] = (
    {"type": "user", "id": "usr_ada", "name": "Ada", "email": "Ada@example.com"},
    {"type": "user", "id": "usr_bob", "email": "bob@example.com"},
    {"type": "user", "id": "usr_bob", "email": "robert@example.com"},  # the same person, later
    {"type": "user", "id": "usr_key", "email": "key@example.com", "credential_id": 'cred "1" ü'},
    {"type": "user", "id": "usr_ada", "email": "Ada@example.com", "credential_id": "key_shared"},
    {"type": "api_key", "id": "key_shared", "name": "ci"},
    {"type": "service", "id": "svc_1"},
    {"type": "agent", "id": "agent_1", "on_behalf_of": [{"type": "user", "id": "usr_ada"}]},
    {"type": "system"},
    {"type": "anonymous", "email": "bob@example.com"},
)
TARGETS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"type": "api_key", "id": "t_1", "name": "ci"}],
    [{"type": "API_KEY", "id": "t_2"}],
    [{"type": "widget", "id": "t_3"}, {"type": "workspace", "id": "ws_1"}],
    [{"type": "workspace", "id": "ws_1", "name": "Support"}],
    [{"type": "dataset", "id": "t_1"}, {"type": "api_key", "id": "t_5"}],
)
# In milliseconds and microseconds from the start: ties within a millisecond, within a microsecond, and gaps.
OFFSETS = (0, 0, 1, 999, 1_000, 1_000, 1_001, 2_500, 999_999, 1_000_000, 1_000_001, 61_000_000)


def seed_events(number: int = 240) -> list[dict[str, Any]]:
    """Return `number` events, the same at every call."""
    chance = random.Random(5)
    made: list[dict[str, Any]] = []
    for index in range(number):
        occurred_at = START + timedelta(
            microseconds=OFFSETS[index % len(OFFSETS)], minutes=chance.randrange(8)
        )
        event: dict[str, Any] = {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "action": ACTIONS[index % len(ACTIONS)],
            "actor": chance.choice(ACTORS),
            "targets": chance.choice(TARGETS),
            "occurred_at": occurred_at.isoformat(),
            "outcome": chance.choice(("success", "success", "failure", "denied", "unknown")),
            "context": chance.choice(({}, {"ip": "192.0.2.7"}, {"ip": "2001:db8::1", "session_id": "s_1"})),
        }
        if chance.random() < 0.6:
            event["workspace"] = chance.choice(("ws_1", "ws_2"))
        made.append(event)
    made[3] |= {"before": None, "after": {"a": [1, "\u202e=1+1", None]}, "metadata": {"k": {"deep": True}}}
    made[4] |= {"occurred_at": "1969-12-31T23:59:59.999999Z", "action": "create_api_key"}
    made[5] |= {"occurred_at": "9999-12-31T23:59:59.999999Z"}
    made[6] |= {"occurred_at": "0001-01-01T00:00:00Z"}
    made[7] |= {"after": {"text": "x" * 50_000}, "metadata": {"💥": "💥"}}
    return made

"""Langfuse's rows: taken in as events, and given out as they came."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tallystick.event.prepare import prepare
from tallystick.event.redact import Redaction
from tallystick.services.contracts.langfuse import langfuse_row
from tallystick.sources.mapping import shipped

ROW: dict[str, Any] = {
    "id": "cm4x1", "createdAt": "2026-05-01T10:00:00.123Z", "updatedAt": "2026-05-01T10:00:00.123Z",
    "type": "USER", "apiKeyId": None, "userId": "usr_1", "orgId": "org_1", "userOrgRole": "OWNER",
    "projectId": "prj_1", "userProjectRole": "ADMIN", "resourceType": "prompt", "resourceId": "p_1",
    "action": "update", "before": '{"version": 1}', "after": '{"version": 2}',
}  # fmt: skip


def test_a_row_becomes_an_event() -> None:
    """A team that moves here keeps who did what to what, and what it was before."""
    event = shipped("langfuse").apply(ROW)
    assert event["action"] == "prompt.update"
    assert event["actor"] == {
        "type": "user", "id": "usr_1", "roles": {"organization": "OWNER", "workspace": "ADMIN"},
    }  # fmt: skip
    assert (event["targets"], event["workspace"]) == ([{"type": "prompt", "id": "p_1"}], "prj_1")
    assert (event["before"], event["after"]) == ({"version": 1}, {"version": 2})
    assert event["occurred_at"] == ROW["createdAt"]
    prepared = prepare(
        json.dumps({**event, "id": str(uuid4())}).encode(),
        redaction=Redaction(key=b"a key for tests, long enough"),
        new_id=uuid4,
    )
    assert prepared.action == "prompt.update"


@pytest.mark.parametrize(
    ("more", "actor"),
    [
        ({"type": "API_KEY", "userId": None, "apiKeyId": "key_1"}, {"type": "api_key", "id": "key_1"}),
        ({"type": None, "userId": None, "apiKeyId": "key_1"}, {"type": "api_key", "id": "key_1"}),
        ({"type": None}, {"type": "user", "id": "usr_1"}),
    ],
)
def test_who_acted(more: dict[str, Any], actor: dict[str, Any]) -> None:
    """Older rows say no type; the key or the person in them does."""
    found = shipped("langfuse").apply({**ROW, **more})["actor"]
    assert actor.items() <= found.items()


def test_back_and_forth() -> None:
    """What was taken in from Langfuse is given out as it came."""
    event = shipped("langfuse").apply(ROW)
    recorded = event | {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "organization": "o", "position": 3}
    row = langfuse_row(recorded, leaf_hash=bytes(32), log_name="x/o/o")
    same = ("createdAt", "type", "userId", "apiKeyId", "userOrgRole", "projectId", "userProjectRole",
            "resourceType", "resourceId", "action")  # fmt: skip
    assert {key: row[key] for key in same} == {key: ROW[key] for key in same}
    assert (json.loads(row["before"]), json.loads(row["after"])) == ({"version": 1}, {"version": 2})

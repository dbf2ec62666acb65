"""pytest: the fixture `audit_events`, which catches what is recorded before it touches a disk or a network.

def test_creating_a_key(audit_events):
    create_key()
    audit_events.assert_recorded("api_key.create", actor="usr_1")
"""

from __future__ import annotations

import json
from typing import Any

import pytest


class AuditEvents(list[dict[str, Any]]):
    """The events recorded during a test, as they would be sent: checked and redacted."""

    def matching(
        self,
        action: str,
        *,
        actor: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        workspace: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the events of an action; `actor` and `target` are ids."""
        return [
            event
            for event in self
            if event["action"] == action
            and actor in (None, event["actor"].get("id"))
            and (target is None or target in [one["id"] for one in event.get("targets", ())])
            and outcome in (None, event.get("outcome", "success"))
            and workspace in (None, event.get("workspace"))
        ]

    def assert_recorded(self, action: str, *, times: int | None = None, **more: Any) -> dict[str, Any]:
        """Fail unless such an event was recorded (exactly `times` times, if given); return the last one."""
        found = self.matching(action, **more)
        wanted = f"{action} {more or ''}".strip()
        if not found or (times is not None and len(found) != times):
            recorded = "\n".join(f"  {_line(event)}" for event in self) or "  nothing"
            often = "" if times is None else f" {times} times but {len(found)}"
            pytest.fail(f"{wanted} was not recorded{often}; recorded was:\n{recorded}", pytrace=False)
        return found[-1]

    def assert_not_recorded(self, action: str, **more: Any) -> None:
        """Fail if such an event was recorded."""
        found = self.matching(action, **more)
        if found:
            pytest.fail(f"{action} was recorded: {_line(found[-1])}", pytrace=False)


def _line(event: dict[str, Any]) -> str:
    who = event["actor"].get("id") or event["actor"]["type"]
    what = ", ".join(f"{one['type']} {one['id']}" for one in event.get("targets", ())) or "—"
    return f"{event['action']}  by {who}  on {what}  {event.get('outcome', 'success')}"


@pytest.fixture
def audit_events(monkeypatch: pytest.MonkeyPatch) -> AuditEvents:
    """Everything that is recorded in this test, instead of a spool and a server."""
    from tallystick.client.delivery import Delivery
    from tallystick.client.transport import Committed

    events = AuditEvents()

    def put(self: Delivery, id: str, raw: bytes) -> bool:
        events.append(json.loads(raw))
        return True

    def put_soon(self: Delivery, id: str, raw: bytes, done: Any) -> None:
        events.append(json.loads(raw))
        done(None)

    def confirm(self: Delivery, id: str, raw: bytes, timeout_seconds: float) -> Committed:
        return Committed(id=id, position=len(events) - 1, received_at=events[-1]["occurred_at"], receipt="")

    for name, instead in (("put", put), ("attempt", put), ("put_soon", put_soon), ("confirm", confirm)):
        monkeypatch.setattr(Delivery, name, instead)
    return events

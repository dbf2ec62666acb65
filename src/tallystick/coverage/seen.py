"""What was recorded while tests ran: which actions, in which requests, about which kinds of things."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, field

SEEN_MAX: Final = 100_000


class Request(Struct, frozen=True):
    """A request within which something was recorded."""

    method: str
    path: str
    action: str


class Seen(Struct):
    """What tests had an application record, each thing once."""

    actions: set[str] = field(default_factory=set)
    requests: set[Request] = field(default_factory=set)
    targets: set[tuple[str, str]] = field(default_factory=set)  # type of target, action

    def note(self, raw: bytes) -> None:
        """Note an event, as it would be sent."""
        event = json.loads(raw)
        action = event["action"]
        self.actions.add(action)
        for target in event.get("targets", ()):
            self.targets.add((target["type"], action))
        http = event.get("context", {}).get("http", {})
        if "path" in http and len(self.requests) < SEEN_MAX:
            self.requests.add(Request(str(http.get("method", "")), str(http["path"]), action))

    def add(self, said: dict[str, Any]) -> None:
        """Take over what another process saw."""
        self.actions.update(said["actions"])
        self.requests.update(Request(*one) for one in said["requests"])
        self.targets.update((kind, action) for kind, action in said["targets"])

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file or another process."""
        requests: Iterable[list[str]] = sorted([one.method, one.path, one.action] for one in self.requests)
        return {
            "actions": sorted(self.actions),
            "requests": list(requests),
            "targets": sorted(map(list, self.targets)),
        }

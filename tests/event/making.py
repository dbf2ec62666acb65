"""Shortcuts the event room's tests share: a redaction, an ordinary event, and the way through the room."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tallystick.event.prepare import Prepared, prepare
from tallystick.event.redact import Redaction
from tallystick.event.render import render
from tallystick.event.seal import Sealed, seal

ORGANIZATION = UUID("11111111-2222-4333-8444-555555555555")
ORIGIN = f"audit.example.org/o/{ORGANIZATION}"
SOURCE = "key_42"
MADE_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SEED = bytes(range(16))
NOW = datetime(2026, 6, 1, 12, 0, 0, 654321, tzinfo=UTC)
REDACTION = Redaction(key=b"the key of the tests, 32 bytes..")

ORDINARY: dict[str, Any] = {
    "action": "prompt.update",
    "actor": {"type": "user", "id": "u_1", "name": "Ann Example", "email": "ann@example.org"},
    "targets": [{"type": "prompt", "id": "p_1", "name": "greeting"}],
    "occurred_at": "2026-06-01T11:59:55.123456Z",
    "id": "0192f0c1-2345-7abc-8def-0123456789ab",
    "workspace": "ws_1",
    "stream": "gateway",
    "outcome": "failure",
    "error": {"type": "PermissionError", "code": "E403", "message": "no"},
    "context": {"ip": "192.0.2.10", "user_agent": "curl/8", "request_id": "r-1", "session_id": "s-1"},
    "before": {"v": 1},
    "after": {"v": 2},
    "metadata": {"k": "v"},
}


def changed(path: str = "", value: Any = None, **top: Any) -> dict[str, Any]:
    """Return the ordinary event with `value` at the JSON pointer `path` and with top-level fields replaced."""
    event = copy.deepcopy(ORDINARY) | top
    if path:
        *above, last = path.strip("/").split("/")
        place: Any = event
        for step in above:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        place[last] = value
    return event


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return `event` without these top-level fields."""
    return {name: value for name, value in event.items() if name not in names}


def body(event: Any) -> bytes:
    """Return `event` as a producer writes it; lone surrogates become escapes."""
    return json.dumps(event).encode()


def prepared(event: Any, redaction: Redaction = REDACTION) -> Prepared:
    """Return what `prepare` makes of `event` (bytes or JSON values)."""
    raw = event if isinstance(event, bytes) else body(event)
    return prepare(raw, redaction=redaction, new_id=lambda: MADE_ID)


def refs_for(event: Prepared) -> list[UUID]:
    """Return a pseudonym for each subject of `event`."""
    return [UUID(int=(index + 1) << 64) for index in range(len(event.subjects))]


def sealed(event: Prepared, *, received_at: datetime = NOW, seed: bytes = SEED) -> Sealed:
    """Return `event` sealed into the log of the tests."""
    return seal(event, origin=ORIGIN, source=SOURCE, received_at=received_at, refs=refs_for(event), seed=seed)


def shown(event: Any, redaction: Redaction = REDACTION, received_at: datetime = NOW) -> dict[str, Any]:
    """Return `event` as the API shows it after it went all the way."""
    row = sealed(prepared(event, redaction), received_at=received_at)
    return render(row.leaf, row.opening, 7)


def flags_of(event: Any) -> set[tuple[str, str]]:
    """Return the (kind, path) of every flag `event` earns."""
    return {(flag["kind"], flag["path"]) for flag in shown(event).get("flags", [])}

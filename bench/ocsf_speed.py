"""How many events a second one core renders as OCSF and encodes as JSON, by version and view.

Run: .venv/bin/python -m bench.ocsf_speed
Best of many short runs in processor time, so that neighbours on the machine do not count. The events are
believable ones of all families, told in full. The floor is the promise of docs/reference/ocsf.md.
"""

from __future__ import annotations

import sys
from time import process_time
from typing import Any

import msgspec

from bench.event_cost import NOW, REDACTION
from bench.events import events
from tallystick.event.identity import uuid7
from tallystick.event.prepare import prepare
from tallystick.event.render import render as render_event
from tallystick.event.seal import seal
from tallystick.ocsf import langsmith_item, render

EVENTS_PER_SECOND_MIN = 40_000
COUNT = 2_000
ROUNDS = 15
ORIGIN = "audit.example.org/o/01890a5d-ac96-774b-bcce-b302099a8057"

# One action of each native class, so that no class is slow unseen.
FAMILIES = (
    "create_api_key", "update_scim_user", "login.succeeded", "update_sso_settings", "update_workspace_member",
    "add_member_to_workspace", "create_bulk_export", "anomaly.alert", "audit_log.export",
)  # fmt: skip


def recorded(action: str | None = None) -> list[tuple[dict[str, Any], bytes]]:
    """Return events as the log gives them, with their leaf hashes; all of one action if given."""
    found = []
    for position, event in enumerate(events(COUNT)):
        raw = msgspec.json.encode(event | ({} if action is None else {"action": action}))
        prepared = prepare(raw, redaction=REDACTION, new_id=lambda: uuid7(0, bytes(10)))
        refs = [uuid7(0, bytes(10))] * len(prepared.subjects)
        sealed = seal(prepared, origin=ORIGIN, source="key_1", received_at=NOW, refs=refs, seed=b"s" * 16)
        found.append(
            (render_event(sealed.leaf, sealed.opening, position, with_changes=False), sealed.leaf_hash)
        )
    return found


def events_per_second(rows: list[tuple[dict[str, Any], bytes]], make: Any, **options: Any) -> float:
    """Return how many events a second are rendered and encoded, in the best of the rounds."""
    encode = msgspec.json.Encoder().encode
    best = float("inf")
    for _ in range(ROUNDS):
        start = process_time()
        for event, leaf_hash in rows:
            encode(make(event, leaf_hash=leaf_hash, log_name=ORIGIN, product_version="0.1.0", **options))
        best = min(best, process_time() - start)
    return len(rows) / best


def main() -> int:
    """Print the table; the result is 1 when a rate is under the floor."""
    mixed = recorded()
    rates: dict[str, float] = {}
    for version in ("1.7.0", "1.1.0"):
        for view in ("default", "native", "api_activity"):
            rates[f"{version} {view}"] = events_per_second(mixed, render, version=version, view=view)
        for action in FAMILIES:
            rates[f"{version} native {action}"] = events_per_second(
                recorded(action), render, version=version, view="native"
            )
    rates["langsmith item"] = events_per_second(mixed, langsmith_item)
    for name, rate in rates.items():
        print(
            f"{name:44} {rate:9,.0f} events/s {1e6 / rate:6.1f} µs{'' if rate >= EVENTS_PER_SECOND_MIN else '  SLOW'}"
        )
    return 0 if min(rates.values()) >= EVENTS_PER_SECOND_MIN else 1


if __name__ == "__main__":
    sys.exit(main())

"""What one ordinary event costs on its way from bytes to sealed leaf, step by step.

Run: .venv/bin/python bench/event_cost.py
Each figure is the best of many short runs, in microseconds; the ratio is to one SHA-256 of 100 bytes and
one msgspec decoding of the event, measured in the same run, so that machines can be compared.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec

from tallystick.event.assemble import assemble
from tallystick.event.canonical import canonical_plain
from tallystick.event.decode import decode_quick, decode_strict
from tallystick.event.ordinary import ordinary
from tallystick.event.prepare import prepare
from tallystick.event.projection import projection
from tallystick.event.redact import Redaction
from tallystick.event.render import render
from tallystick.event.seal import seal
from tallystick.event.unseal import unseal

EVENT: dict[str, Any] = {
    "action": "prompt.update",
    "actor": {"type": "user", "id": "u_12345678", "name": "Ann Example", "email": "ann@example.org"},
    "targets": [{"type": "prompt", "id": "p_12345678", "name": "Greeting for new customers"}],
    "occurred_at": "2026-06-01T12:00:00.123456Z",
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "workspace": "ws_12345678",
    "outcome": "success",
    "context": {
        "ip": "192.0.2.10",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "request_id": "req_1234567890abcdef",
    },
    "before": {"name": "Greeting", "version": 1, "tags": ["a", "b"], "temperature": 1},
    "after": {"name": "Greeting", "version": 2, "tags": ["a", "c"], "temperature": 1},
    "metadata": {"source": "ui", "plan": "team", "trial": False},
}
ORIGIN = "audit.example.org/o/01890a5d-ac96-774b-bcce-b302099a8057"
ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
NOW = datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)
REDACTION = Redaction(key=b"a key of the benchmark, not secret")


def best_us(call: Callable[[], object], *, number: int = 50, rounds: int = 400) -> float:
    """Return the microseconds of one `call` in the best of `rounds` runs: what it costs undisturbed."""
    best = float("inf")
    for _ in range(rounds):
        start = perf_counter()
        for _ in range(number):
            call()
        best = min(best, perf_counter() - start)
    return best / number * 1e6


def main() -> None:
    """Print the table."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as the server does after its start
    raw = json.dumps(EVENT, separators=(",", ":")).encode()
    careful = raw.replace(b'"plan":"team"', b'"api_key":"sk-1234567890abcdefghij"')
    tree = decode_quick(raw)
    quick = ordinary(tree, raw, REDACTION)
    assert quick is not None, "the typical event must take the quick road"
    event = quick[0]

    def new_id() -> UUID:
        return ID

    def preparing(body: bytes = raw) -> Any:
        return prepare(body, redaction=REDACTION, new_id=new_id)

    def sealing() -> Any:
        return seal(prepared, origin=ORIGIN, source="key_1", received_at=NOW, refs=[ID], seed=b"s" * 16)

    prepared = preparing()
    sealed = sealing()
    decode = msgspec.json.Decoder().decode
    steps: dict[str, Callable[[], object]] = {
        "baseline: sha256 of 100 bytes": lambda: hashlib.sha256(b"x" * 100).digest(),
        "baseline: msgspec decode": lambda: decode(raw),
        "decode_quick": lambda: decode_quick(raw),
        "ordinary (check, convert, sieve)": lambda: ordinary(tree, raw, REDACTION),
        "assemble (canonical values)": lambda: assemble(event, len(raw), new_id, canonical_plain, [], ()),
        "prepare = the three": preparing,
        "seal": sealing,
        "decode_strict": lambda: decode_strict(raw),
        "prepare with a secret (careful)": lambda: preparing(careful),
        "unseal": lambda: unseal(sealed.leaf, sealed.opening, sealed.seed),
        "projection": lambda: projection(sealed.leaf, sealed.opening),
        "render": lambda: render(sealed.leaf, sealed.opening, 1),
    }
    costs = {name: best_us(call) for name, call in steps.items()}
    unit = costs["baseline: sha256 of 100 bytes"] + costs["baseline: msgspec decode"]
    print(f"event {len(raw)} bytes, leaf {len(sealed.leaf)}, opening {len(sealed.opening)}")
    for name, cost in costs.items():
        print(f"{name:36} {cost:7.2f} µs {cost / unit:6.2f} ×")
    total = costs["prepare = the three"] + costs["seal"]
    print(f"{'total of an event (prepare + seal)':36} {total:7.2f} µs {total / unit:6.2f} ×")


if __name__ == "__main__":
    main()

"""Writes the golden leaves once: `python -m event.write_golden` in `tests/`. Existing files are never changed.

A golden file that no longer matches means that the log format changed: then old proofs break. Do not write
the file again; mend the code, or give the format a new version.
"""

from __future__ import annotations

import json
from typing import Any

from .making import NOW, ORDINARY, ORIGIN, SEED, SOURCE, body, changed, prepared, refs_for, sealed
from .test_seal import GOLDEN

CHAIN = [
    {"type": "agent", "id": "agent_7", "credential_id": "key_9", "roles": {"workspace": "editor"}},
    {"type": "user", "id": "u_9", "name": "Bea Müller", "email": "bea@example.org"},
]
CASES: dict[str, Any] = {
    "01_ordinary": ORDINARY,
    "02_smallest": {"action": "job.run", "actor": {"type": "system"}},
    "03_everything": changed("/actor/on_behalf_of", CHAIN)
    | {
        "occurred_at": "2026-06-01T13:59:55.5+02:00",
        "context": {
            "ip": "[2001:DB8::1]:443", "user_agent": "Mozilla/5.0", "request_id": "r-1", "session_id": "s-1",
            "trace_id": "t-1", "http": {"method": "POST", "path": "/v1/prompts", "status": 200},
            "location": {"country": "FR", "region": "ARA", "city": "Lyon"},
        },
        "targets": [{"type": "prompt", "id": f"p_{index}", "name": f"name {index}"} for index in range(12)],
    },
    "04_nothing_is_a_value": changed(before=None, after={"a": None, "b": False, "c": 0, "d": "", "e": [], "f": {}}),
    "05_numbers": changed("/metadata", {"a": 0.1, "b": 1e20, "c": 1e-7, "d": -0.0, "e": 2**53 - 1, "f": 1.0, "g": 10**30}),
    "06_unicode": changed("/metadata", {"\U0001f600": "x", "\ufb33": "\u2028\x7f\x1b[2K", "ä": "a\0b", "cut": "\ud83d"}),
    "07_redacted": changed("/after", {"password": "hunter2", "note": "use sk-abcdefghij0123456789 now", "max_tokens": 5}),
    "08_cut_and_doubted": changed("/actor/name", "n" * 2000) | {"occurred_at": "1999-12-31T23:59:60Z"},
    "09_numbered": changed(producer={"id": "billing-api", "epoch": "4f0c21aa", "sequence": 120}),
    "10_accounts_for_numbers": {
        "action": "audit.gap", "actor": {"type": "system"},
        "producer": {"id": "billing-api", "epoch": "4f0c21aa", "sequence": 139,
                     "unsent": [{"first": 121, "last": 137}, {"first": 138, "last": 138}]},
    },
}  # fmt: skip


def main() -> None:
    """Write every golden leaf that is not there yet."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, event in CASES.items():
        file = GOLDEN / f"{name}.json"
        if file.exists():
            continue
        ready = prepared(event)
        row = sealed(ready)
        case = {
            "input": body(event).decode(),
            "redaction_key": "the key of the tests, 32 bytes..",
            "origin": ORIGIN,
            "source": SOURCE,
            "received_at": NOW.isoformat(),
            "refs": [ref.hex for ref in refs_for(ready)],
            "seed": SEED.hex(),
            "leaf": row.leaf.decode(),
            "leaf_hash": row.leaf_hash.hex(),
            "opening": row.opening.decode(),
        }
        file.write_text(json.dumps(case, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()

"""Believable events of about 650 bytes, the same for every benchmark and baseline."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tallystick.event.identity import uuid7

ACTIONS = [
    f"{noun}.{verb}"
    for noun in ("api_key", "prompt", "dataset", "member", "project", "model", "run", "budget", "dashboard", "webhook",
                 "experiment", "evaluator", "annotation_queue", "secret", "role")
    for verb in ("create", "update", "delete", "read", "share", "export")
]  # fmt: skip
FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Leslie", "Frances", "Ken")
LAST = (
    "Lovelace",
    "Hopper",
    "Turing",
    "Dijkstra",
    "Liskov",
    "Knuth",
    "Perlman",
    "Lamport",
    "Allen",
    "Thompson",
)


def events(
    count: int, *, seed: int = 1, people: int = 2000, start: datetime | None = None
) -> Iterator[dict[str, object]]:
    """Yield `count` events 10 ms apart from `start` (default: so that the last is now), with ids as an SDK makes them."""
    chance = random.Random(seed)
    at = start or datetime.now(UTC) - timedelta(milliseconds=10 * count)
    for number in range(count):
        action = ACTIONS[min(int(chance.expovariate(0.08)), len(ACTIONS) - 1)]
        person = chance.randrange(people)
        first, last = FIRST[person % 10], LAST[person // 10 % 10]
        when = at + timedelta(milliseconds=10 * number)
        target = f"{action.split('.')[0]}_{chance.randrange(50_000):05d}"
        yield {
            "id": str(uuid7(int(when.timestamp() * 1000), chance.randbytes(10))),
            "action": action,
            "occurred_at": when.isoformat(),
            "actor": {
                "type": "user",
                "id": f"usr_{person:06d}",
                "name": f"{first} {last}",
                "email": f"{first.lower()}.{last.lower()}.{person}@example.com",
            },
            "workspace": f"prj_{chance.randrange(40):03d}",
            "targets": [
                {"type": action.split(".")[0], "id": target, "name": f"{action.split('.')[0]} {target[-5:]}"}
            ],
            "outcome": "success" if chance.random() < 0.95 else "failure",
            "context": {
                "ip": f"192.0.2.{chance.randrange(256)}",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
                "request_id": f"req_{chance.getrandbits(64):016x}",
            },
            "before": {"limit": chance.randrange(1000), "enabled": True},
            "after": {"limit": chance.randrange(1000), "enabled": False},
            "metadata": {
                "via": "ui",
                "region": "eu-west-1",
                "note": f"asked for in ticket {chance.randrange(10**6)}",
            },
        }


def bodies(count: int, *, seed: int = 1, start: datetime | None = None) -> list[bytes]:
    """Return `count` events, each as compact JSON."""
    return [
        json.dumps(event, separators=(",", ":")).encode() for event in events(count, seed=seed, start=start)
    ]


def batches(count: int, size: int, *, seed: int = 1, start: datetime | None = None) -> list[bytes]:
    """Return `count` JSON arrays of `size` events each."""
    singles = bodies(count * size, seed=seed, start=start)
    return [b"[" + b",".join(singles[i * size : (i + 1) * size]) + b"]" for i in range(count)]

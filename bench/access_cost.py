"""What it costs to know who is calling and what they may do, in the processor time of recording one event.

Run: .venv/bin/python -m bench.access_cost
The request is measured on a real server over HTTP; the door in front of it alone, in this process, with the very
functions the guard calls. The share of the two is what counts: both are Python of the same machine and moment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from bench import load
from bench.server import cpu_seconds, tallystick
from tallystick.errors import AuditError
from tallystick.services.access import Access
from tallystick.services.permissions import WRITE
from tallystick.services.principal import Principal
from tallystick.web.call import Call
from tallystick.web.guard import authenticate

GOAL_PERCENT = 15.0
REQUESTS = 3_000
CONNECTIONS = 16
ROUNDS = 5
CALLS = 20_000


class _Parts:
    """What the guard asks of the services, and no more."""

    def __init__(self, access: Access) -> None:
        self.access = access


def scope_of(key: str) -> dict[str, Any]:
    """Return a request's scope as the server gives it."""
    headers = [
        (b"host", b"127.0.0.1:8080"), (b"content-type", b"application/json"), (b"content-length", b"400"),
        (b"authorization", b"Bearer " + key.encode()),
    ]  # fmt: skip
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/events",
        "headers": headers,
        "client": ("127.0.0.1", 5),
    }


async def _receive() -> Any:
    raise AssertionError("nothing reads the body here")


async def admission_us() -> float:
    """Return the microseconds of processor time that one call spends at the door, its key being remembered."""
    from datetime import UTC, datetime

    # The clock stands still, so that the remembered answer is never asked for again and nothing is written.
    access = Access(None, now=lambda at=datetime.now(UTC): at, random=os.urandom)  # type: ignore[arg-type]
    key = access.new_key("bench", ["write"]).key
    holder = Principal(
        organization_id=UUID(int=7), kind="key", id="key_1", name="bench", permissions=frozenset({WRITE})
    )
    _remember(access, key, holder)
    parts, scope = _Parts(access), scope_of(key)
    gc.collect()
    gc.disable()
    started = time.process_time()
    for _ in range(CALLS):
        call = Call(scope, _receive, parts)
        principal = (await authenticate(call)).under(WRITE)
        principal.require(WRITE)
    spent = time.process_time() - started
    gc.enable()
    return spent / CALLS * 1e6


def _remember(access: Access, key: str, holder: Principal) -> None:
    import hashlib
    from datetime import UTC, datetime, timedelta

    far = datetime.now(UTC) + timedelta(days=1)
    access._remember(hashlib.sha256(key.encode()).digest(), (far, holder))
    access._touched[(holder.organization_id, holder.id)] = far


def bodies(number: int) -> list[bytes]:
    """Return the bodies of single events as producers send them."""
    return [
        json.dumps({
            "id": str(uuid4()), "action": "api_key.create",
            "actor": {"type": "user", "id": f"usr_{n % 50}", "name": "Ada Lovelace", "email": f"ada{n % 50}@example.com"},
            "targets": [{"type": "api_key", "id": f"key_{n}", "name": "ci"}], "workspace": "ws_1",
            "context": {"ip": "192.0.2.10", "request_id": f"req_{n}"}, "after": {"scopes": ["read"]},
        }).encode()
        for n in range(number)
    ]  # fmt: skip


def request_us(folder: Path, ready: dict[str, Any]) -> float:
    """Return the microseconds of the server's processor time for one request with one event."""
    headers = {"Authorization": f"Bearer {ready['write_key']}"}
    before = cpu_seconds(ready["pid"])
    figures = load.run(
        ready["url"] + "/v1/events", bodies(REQUESTS), connections=CONNECTIONS, headers=headers, folder=folder
    )
    spent = cpu_seconds(ready["pid"]) - before
    if figures.statuses != {"201": REQUESTS}:
        raise AuditError(f"not every event was recorded: {figures.statuses}")
    return spent / REQUESTS * 1e6


def main() -> None:
    """Measure both in turns and print them, with their ratio."""
    requests: list[float] = []
    admissions: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with tallystick(folder) as ready:
            request_us(folder, ready)  # the first ones warm everything up
            for _ in range(ROUNDS):
                requests.append(request_us(folder, ready))
                admissions.append(asyncio.run(admission_us()))
    request, admission = sorted(requests)[ROUNDS // 2], sorted(admissions)[ROUNDS // 2]
    share = admission / request * 100
    print("| what | µs of CPU |\n|---|--:|")
    print(f"| one request with one event, the server's process | {request:.1f} |")
    print(f"| of it: whose key, which organization, may it record | {admission:.1f} |")
    print(
        f"\nshare: {share:.1f} % (goal: at most {GOAL_PERCENT:.0f} %){'' if share <= GOAL_PERCENT else ' - MISSED'}"
    )


if __name__ == "__main__":
    main()

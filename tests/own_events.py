"""Reading the log of the log of a running server."""

from __future__ import annotations

import time
from typing import Any

from server import Server


def settle(server: Server) -> None:
    """Wait until everything there is to record about what was asked so far is in the log."""
    with server.client(None) as client:
        deadline = time.monotonic() + 20
        while "tallystick_own_events_waiting 0.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline, "own events still wait to be written"
            time.sleep(0.005)


def own_events(server: Server, after: int = -1) -> list[dict[str, Any]]:
    """Return the events of stream `tallystick` beyond a position, in order.

    Left out are the use of the reading key, and how often something was seen again, which comes a minute later.
    """
    settle(server)
    found: list[dict[str, Any]] = []
    with server.client() as client:
        while page := client.get("/v1/feed", params={"after": after, "limit": 1000}).json()["events"]:
            found += page
            after = page[-1]["position"]
    return [one for one in found if one["stream"] == "tallystick" and not _of_this_reading(one)]


def end(server: Server) -> int:
    """Return the last position of the log."""
    settle(server)
    return server.size() - 1


def _of_this_reading(event: dict[str, Any]) -> bool:
    metadata = event.get("metadata") or {}
    if "again" in metadata:
        return True
    return event["action"] == "key.used" and metadata["operation"] in ("feed", "checkpoint")

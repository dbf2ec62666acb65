"""A running server whose log holds events of every origin, for the tests of contracts to read."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from contracts.seed import seed_events
from postgres import Cluster, Database, fresh_database
from server import PROGRAM, Server, server_folder, start


@dataclass(repr=False)
class Seeded:
    """The server, a client and its key that read, and the admin key of another organization."""

    server: Server
    client: httpx2.Client
    key: str
    other_key: str
    _events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events of the log in the order of positions: the seed, and what was recorded about its reading since."""
        self.settle()
        size = int(self.client.get("/v1/log/checkpoint").text.split("\n")[1])
        while len(self._events) < size:
            after = {"limit": 1000, "after": len(self._events) - 1}
            for event in self.client.get("/v1/feed", params=after).json()["events"]:
                event.pop("changes", None)
                self._events.append(event)
        return list(self._events)

    def settle(self) -> None:
        """Wait until everything there is to record about what was asked so far is in the log."""
        while "tallystick_own_events_waiting 0.0" not in self.client.get("/metrics").text:
            time.sleep(0.005)

    def __repr__(self) -> str:
        """Say little: a failing property prints its arguments."""
        return f"Seeded({len(self._events)} events)"

    def get(self, path: str, params: Any = None, **more: Any) -> httpx2.Response:
        """Ask with a key that reads, exports and records."""
        return self.client.get(path, params=params, **more)

    def newest_first(self) -> list[dict[str, Any]]:
        """Return all events as every newest-first contract orders them."""
        return sorted(self.events, key=lambda one: (one["occurred_at"], one["position"]), reverse=True)


@pytest.fixture(scope="session")
def contracts_database(postgres_cluster: Cluster, template_database: str) -> Iterator[Database]:
    """The database of the contracts' server."""
    yield from fresh_database(postgres_cluster, template_database)


@pytest.fixture(scope="session")
def seeded(contracts_database: Database) -> Iterator[Seeded]:
    """One server for all tests of contracts; nobody records anything into its first organization's log after this."""
    folder = server_folder()
    server = start(folder / "data", database=contracts_database.logins.owner)
    try:
        key = server.key("read", "write")
        client = server.client(key)
        recorded = client.post("/v1/events:batch", json=seed_events())
        statuses = {result["status"] for result in recorded.json()["results"]}
        assert statuses == {"created"}, recorded.text[:2000]
        yield Seeded(server, client, key, other_organization(server))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def other_organization(server: Server) -> str:
    """Make another organization on the same database with the command line and return its admin key."""
    assert server.database is not None
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    made = subprocess.run(
        [*PROGRAM, "organizations", "create", "Other organization", "--data", str(server.data)],
        env=clean | {"TALLYSTICK_DATABASE_URL": server.database.url},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()

"""A running server whose log holds events of every origin, for the tests of contracts to read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from contracts.seed import seed_events
from postgres import Cluster, Database, fresh_database
from server import PROGRAM, Server, server_folder, start


@dataclass(repr=False)
class Seeded:
    """The server, all events of its log in the order of positions, and a key of another organization."""

    server: Server
    client: httpx2.Client
    events: list[dict[str, Any]]
    other_key: str

    def __repr__(self) -> str:
        """Say little: a failing property prints its arguments."""
        return f"Seeded({len(self.events)} events)"

    def get(self, path: str, params: Any = None, **more: Any) -> httpx2.Response:
        """Ask with the admin's key."""
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
    """One server for all tests of contracts; nobody adds to its first organization's log."""
    folder = server_folder()
    server = start(folder / "data", database=contracts_database.logins.owner)
    try:
        client = server.client()
        recorded = client.post("/v1/events:batch", json=seed_events())
        statuses = {result["status"] for result in recorded.json()["results"]}
        assert statuses == {"created"}, recorded.text[:2000]
        feed = client.get("/v1/feed", params={"limit": 1000}).json()["events"]
        for event in feed:
            event.pop("changes", None)
        yield Seeded(server, client, feed, other_organization(server))
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

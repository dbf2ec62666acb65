"""What tests of the SDK share: an `Audit` of their own against the running server, and the log it ends in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tallystick
from server import Server

from .fake import Fake, fake_server


@pytest.fixture
def make_audit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., tallystick.Audit]]:
    """Makes `Audit`s with spools of the test's own, against the run's server unless told otherwise."""
    made: list[tallystick.Audit] = []

    def make(**more: Any) -> tallystick.Audit:
        chosen = {"spool": tmp_path / "spool", "linger_seconds": 0.01, "exit_seconds": 0.0, **more}
        if "url" not in chosen:
            server: Server = request.getfixturevalue("server")
            chosen = {"url": server.url, "api_key": server.write_key, **chosen}
        made.append(tallystick.Audit(**chosen))
        return made[-1]

    yield make
    for audit in made:
        audit.close(0.5)


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit]) -> tallystick.Audit:
    """An `Audit` against the run's server."""
    return make_audit(profile="fast")


@pytest.fixture
def logged(server: Server) -> Callable[[str], dict[str, Any]]:
    """Returns an event as the log holds it, by id."""

    def find(id: str) -> dict[str, Any]:
        with server.client() as client:
            answer = client.get(f"/v1/events/{id}")
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text)

    return find


@pytest.fixture
def search(server: Server) -> Callable[..., list[dict[str, Any]]]:
    """Returns the newest events that filters find."""

    def find(**filters: str) -> list[dict[str, Any]]:
        with server.client() as client:
            answer = client.get("/v1/events", params={"limit": "1000", **filters})
        assert answer.status_code == 200, answer.text
        return answer.json()["events"]

    return find


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A server that misbehaves on demand."""
    with fake_server() as running:
        yield running

"""The examples run as they stand, against a real server, and leave the trail that their words promise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server import Server

ROOT = Path(__file__).parents[2]
Search = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> dict[str, str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return clean | {
        "TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": server.write_key, "TALLYSTICK_SPOOL": str(tmp_path / "spool"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/registry.db",
    }  # fmt: skip


def test_the_script(environment: dict[str, str], search: Search) -> None:
    """A script must leave an event when it works and when it fails."""
    script = [sys.executable, str(ROOT / "examples" / "script.py")]
    worked = subprocess.run(
        [*script, "datasets/refunds"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert worked.returncode == 0, worked.stderr
    assert (
        subprocess.run([*script, "missing/x"], env=environment, capture_output=True, timeout=60).returncode
        == 1
    )
    failed, done = search(action="index.rebuild")
    assert (done["outcome"], done["after"]) == ("success", {"rows": 1600})
    assert (failed["outcome"], failed["error"]["type"]) == ("failure", "FileNotFoundError")


DRIVE = """
from fastapi.testclient import TestClient
from examples.fastapi_app.app import app, audit
ada, bob = {"authorization": "Bearer ada"}, {"authorization": "Bearer bob"}
with TestClient(app) as client:
    made = client.post("/models", params={"name": "gpt-local"}, headers=ada).json()
    assert client.post(f"/models/{made['id']}/promote", headers=ada).status_code == 200
    assert client.post("/models/999/promote", headers=bob).status_code == 404
    assert client.post("/tokens", headers=bob).status_code == 403
assert audit.flush(20)
"""


def test_fastapi_and_sqlalchemy(environment: dict[str, str], search: Search) -> None:
    """The rows' own changes, the act with a name of its own and the refused request must all be there, with who did it."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVE], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    found = {e["action"]: e for e in [*search(action="^model."), *search(action="token.create")]}
    assert set(found) == {"model.create", "model.update", "model.promote", "token.create"}
    assert found["model.update"]["before"]["stage"] == "staging"
    assert found["model.update"]["after"]["stage"] == "production"
    assert found["model.promote"]["targets"][0]["name"] == "gpt-local"
    assert {found[a]["actor"]["name"] for a in ("model.create", "model.update", "model.promote")} == {"Ada"}
    assert (found["token.create"]["outcome"], found["token.create"]["actor"]["name"]) == ("denied", "Bob")
    requests = {found[a]["context"]["request_id"] for a in ("model.update", "model.promote")}
    assert len(requests) == 1

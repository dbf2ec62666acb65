"""The examples run as they stand, against a real server, and leave the trail that their words promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
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


FLASK = """
from examples.flask_app.app import app, audit
ada, bob = {"authorization": "Bearer ada"}, {"authorization": "Bearer bob"}
client = app.test_client()
made = client.post("/keys", json={"name": "flask-ci"}, headers=ada)
assert made.status_code == 201 and len(made.json["secret"]) > 20
assert client.patch("/keys/key_1", json={"scopes": ["read", "write"]}, headers=ada).status_code == 200
assert client.patch("/keys/key_1", json={"scopes": []}, headers=bob).status_code == 403
assert client.patch("/keys/key_9", json={"scopes": []}, headers=ada).status_code == 404
assert client.post("/keys", json={"name": "x"}).status_code == 401
assert audit.flush(60)
print(made.json["secret"])
"""


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def since(search: Search, began: str, pattern: str, enough: int) -> list[dict[str, Any]]:
    """Return the events of an example, oldest first, once as many have arrived as it promises."""
    end = time.monotonic() + 150
    while True:
        found = [e for e in search(**{"from": began, "order": "oldest"}) if re.match(pattern, e["action"])]
        if len(found) >= enough or time.monotonic() > end:
            return found
        time.sleep(0.1)


@pytest.fixture
def began() -> str:
    return datetime.now(UTC).isoformat()


def test_flask(environment: dict[str, str], search: Search, began: str) -> None:
    """Made, changed, refused and not found: each with who, the key and what it could do; the secret nowhere."""
    secret = run([sys.executable, "-c", FLASK], environment).strip()
    found = since(search, began, r"api_key\.(create|update)$", 5)
    made, changed, denied, missing, stranger = [
        e for e in found if e["context"]["http"]["path"].startswith("/keys")
    ]
    assert (made["targets"], made["after"]) == (
        [{"type": "api_key", "id": "key_1", "name": "flask-ci"}],
        {"name": "flask-ci", "scopes": ["read"]},
    )
    assert (changed["before"]["scopes"], changed["after"]["scopes"]) == (["read"], ["read", "write"])
    assert (denied["outcome"], denied["actor"]["name"]) == ("denied", "Bob")
    assert (missing["outcome"], missing["actor"]["name"]) == ("failure", "Ada")
    assert (stranger["outcome"], stranger["actor"]["type"]) == ("denied", "anonymous")
    assert secret not in str(found)


def test_celery(environment: dict[str, str], search: Search, began: str, tmp_path: Path) -> None:
    """What a worker does in another process must be told in the name of whoever sent it, refusals too."""
    environment["BROKER"] = str(tmp_path / "broker")
    log = (tmp_path / "worker.log").open("wb")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "examples.celery_app.app", "worker", "--pool", "prefork", "-c", "1",
         "--without-gossip", "--without-mingle", "--without-heartbeat"],
        env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        run([sys.executable, "-m", "examples.celery_app.send"], environment)
        found = since(search, began, r"(dataset\.purge|task\.run)$", 3)
    finally:
        worker.terminate()
        worker.wait(60)
        log.close()
    assert len(found) == 3, (tmp_path / "worker.log").read_text()
    assert {event["actor"]["id"] for event in found} == {"usr_1"}
    assert {event["context"]["request_id"] for event in found} == {"req-celery"}
    told = sorted((e["action"], e["targets"][0]["id"], e["outcome"]) for e in found)
    assert told == [
        ("dataset.purge", "ds_1", "success"), ("task.run", "dataset.purge", "denied"), ("task.run", "dataset.purge", "success"),
    ]  # fmt: skip


def test_an_agent_with_tools(environment: dict[str, str], search: Search, began: str) -> None:
    """Each tool call of an agent, its own and a server's, must say for whom, and whether it was done, failed or denied."""
    printed = run([sys.executable, "-m", "examples.agent.agent", "usr_42"], environment)
    assert "sent: True" in printed
    found = since(search, began, r"(tool\.call|agent\.run)$", 5)
    assert {event["actor"]["on_behalf_of"][0]["id"] for event in found} == {"usr_42"}
    calls = sorted(
        (e["targets"][0]["id"], e["metadata"]["arguments"]["order"], e["outcome"])
        for e in found
        if e["action"] == "tool.call"
    )
    assert calls == [
        ("look_up", "o-404", "failure"), ("look_up", "o-7", "success"), ("refund", "o-7", "success"), ("refund", "o-8", "denied"),
    ]  # fmt: skip
    refund = next(e for e in found if e["targets"][0]["id"] == "refund" and e["outcome"] == "success")
    assert (refund["after"], refund["targets"][1]) == ({"refunded": 20}, {"type": "order", "id": "o-7"})
    assert [e["outcome"] for e in found if e["action"] == "agent.run"] == ["success"]

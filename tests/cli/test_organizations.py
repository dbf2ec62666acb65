"""`organizations`: acts on the database beside a running server, for any organization."""

from __future__ import annotations

import os
import subprocess
from uuid import uuid4

from postgres import Database
from server import PROGRAM, Server, Servers, event


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tallystick organizations …` on the server's database."""
    assert server.database is not None
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [*PROGRAM, "organizations", *arguments, "--data", str(server.data)],
        env=clean | {"TALLYSTICK_DATABASE_URL": server.database.url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_second_organization(servers: Servers, database: Database) -> None:
    """A new organization has a log and a key of its own, and sees nothing of the first one's."""
    server = servers.start(database=database.logins.owner)
    server.client().post("/v1/events", json=event())
    made = run(server, "create", "Second & last")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("tst_")
    assert key not in made.stderr
    other = server.client(key)
    assert other.get("/v1/organization").json()["display_name"] == "Second & last"
    assert other.get("/v1/feed").status_code in (200, 404), "nothing is there, not even a checkpoint"
    # Before it is only what was recorded about the use of its own admin key.
    assert other.post("/v1/events", json=event()).json()["position"] < 5
    listed = run(server, "list")
    assert "First organization" in listed.stdout
    assert "Second & last" in listed.stdout


def test_switching(servers: Servers, database: Database) -> None:
    """With one organization it need not be named; with two it must, and an unknown one is an error."""
    server = servers.start(database=database.logins.owner)
    assert run(server, "disable-audit-logs").returncode == 0
    assert " off" in run(server, "list").stdout
    assert run(server, "enable-audit-logs", str(server.organization_id)).returncode == 0
    assert " off" not in run(server, "list").stdout
    assert run(server, "create", "x" * 257).returncode == 2
    assert run(server, "create", "Second").returncode == 0
    unnamed = run(server, "disable-audit-logs")
    assert (unnamed.returncode, "2 organizations" in unnamed.stderr) == (2, True)
    assert run(server, "disable-audit-logs", str(uuid4())).returncode == 4
    assert run(server, "disable-audit-logs", "first").returncode == 2


def test_without_a_database(servers: Servers) -> None:
    """Where nothing runs the command says how to start it, without a stack trace."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    done = subprocess.run(
        [*PROGRAM, "organizations", "list", "--data", str(servers.folder / "nothing")],
        env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "tallystick serve" in done.stderr
    assert "Traceback" not in done.stderr

"""`retention`, `holds`, `erase`, `approvals` against a running server whose keeper is the real one."""

from __future__ import annotations

import os
import subprocess

from postgres import Database
from server import PROGRAM, Server, Servers, event


def run(server: Server, *arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with the server's first key, or another one."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    more = {"TALLYSTICK_API_KEY": key} if key else {}
    return subprocess.run(
        [*PROGRAM, *arguments, "--data", str(server.data)], env=clean | more | {"COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_life_on_the_command_line(servers: Servers, database: Database) -> None:
    """Every command says what it did, and a second person is waited for where that is wanted."""
    logins = database.logins
    server = servers.start(
        database=logins.owner,
        environment={
            "TALLYSTICK_DATABASE_WRITER_URL": logins.writer.url,
            "TALLYSTICK_DATABASE_READER_URL": logins.reader.url,
            "TALLYSTICK_DATABASE_KEEPER_URL": logins.keeper.url,
        },
    )
    ada = {"type": "user", "id": "usr_ada_cli", "name": "Ada of the shell", "email": "ada@shell.example"}
    for _ in range(3):
        assert server.client().post("/v1/events", json=event(actor=ada)).status_code == 201
    assert "one_year" in run(server, "retention", "show").stdout
    preview = run(server, "retention", "set", "thirty_days", "--preview")
    assert preview.returncode == 0, preview.stderr
    assert run(server, "retention", "set", "thirty_days").returncode == 0
    assert "thirty_days" in run(server, "retention", "show").stdout
    assert run(server, "retention", "run").stdout.strip() == "0 events removed."
    assert (
        run(server, "holds", "set", "a case", "--actor", "usr_ada_cli", "--preview").stdout.strip()
        == "3 events now."
    )
    made = run(server, "holds", "set", "a case", "--actor", "usr_ada_cli")
    hold = made.stdout.split()[0]
    refused = run(server, "erase", "person", "--email", "ada@shell.example", "--yes")
    assert refused.returncode == 2
    assert "legal hold" in refused.stderr
    assert run(server, "approvals", "dual-control", "on").returncode == 0
    waits = run(server, "holds", "release", hold)
    assert "second person" in waits.stderr
    approval = waits.stderr.split()[-1]
    assert run(server, "approvals", "approve", approval).returncode == 3
    second = run(server, "keys", "create", "second", "-p", "admin").stdout.strip()
    assert run(server, "approvals", "approve", approval, key=second).returncode == 3, (
        "made by the requester's key"
    )
    assert hold in run(server, "holds", "list").stdout
    listed = run(server, "approvals", "list").stdout
    assert approval in listed
    assert "Dual control is on." in listed

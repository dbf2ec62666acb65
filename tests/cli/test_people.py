"""Members, roles, workspaces and keys of operators from the command line, against a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from postgres import Database
from server import Server

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(server: Server, server_database: Database, tmp_path: Path) -> Run:
    """Runs `tallystick …` connected to the running server, and to its database for what goes straight there."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALLYSTICK_")}
    environment |= {
        "TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": server.admin_key, "COLUMNS": "200",
        "TALLYSTICK_DATABASE_URL": server_database.logins.owner.url,
    }  # fmt: skip

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tallystick.cli import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_people_from_invitation_to_removal(run: Run, server: Server) -> None:
    """Somebody without a browser could not let anybody in, or get rid of them."""
    run("workspaces", "create", "Command line", "--id", "ws-cli")
    made = run(
        "members", "invite", "cli@example.com", "MEMBER", "--workspace", "ws-cli=AUDITOR", "--name", "Cli"
    )
    link = made.stdout.strip()
    assert link.startswith(f"{server.url}/sign-in/link/tsl_")
    assert httpx2.get(link, timeout=30).status_code == 200
    listed = run("members", "list").stdout
    assert "cli@example.com" in listed
    assert "ws-cli=AUDITOR" in listed
    assert "invited" in listed
    run("members", "role", "cli@example.com", "AUDITOR")
    run("members", "role", "cli@example.com", "none", "--workspace", "ws-cli")
    listed = run("members", "list").stdout
    assert "ws-cli" not in listed
    run("members", "role", "cli@example.com", "NOBODY", code=2)
    run("members", "role", "nobody@example.com", "VIEWER", code=4)
    run("members", "remove", "cli@example.com")
    assert "cli@example.com" not in run("members", "list").stdout


def test_workspaces_and_roles(run: Run) -> None:
    """What exists could not be seen, closed or opened again."""
    run("workspaces", "create", "A/B?", "--id", "ws-cli-2")
    for what, state in (("archive", "archived"), ("restore", "open"), ("delete", "deleted")):
        run("workspaces", what, "ws-cli-2")
        line = next(
            line for line in run("workspaces", "list", "--deleted").stdout.splitlines() if "ws-cli-2" in line
        )
        assert line.rstrip().endswith(state)
    assert "ws-cli-2" not in run("workspaces", "list").stdout
    run("workspaces", "archive", "../../keys", code=4)
    role = run("roles", "create", "From the command line", "-p", "auditLogs:read").stdout.split()[0]
    assert role in run("roles", "list").stdout
    run("roles", "remove", role)
    assert role not in run("roles", "list").stdout


def test_a_key_is_rotated(run: Run) -> None:
    """The new key would be printed with something else, or nowhere."""
    made = run("keys", "create", "to rotate", "-p", "write")
    key_id = made.stderr.split()[0]
    new = run("keys", "rotate", key_id).stdout.strip()
    assert new.startswith("tst_")
    assert new != made.stdout.strip()
    run("keys", "rotate", key_id, code=2)


def test_teams(run: Run) -> None:
    """Teams could be made by programs alone."""
    team = run("teams", "create", "Research").stdout.split()[0]
    run("workspaces", "create", "Of a team", "--id", "ws-cli-team", "--team", team)
    run("teams", "rename", team, "Field research")
    (line,) = [line for line in run("teams", "list").stdout.splitlines() if line.startswith(team)]
    assert line.split() == [team, "Field", "research", "1"]
    run("workspaces", "change", "ws-cli-team", "--name", "Of none", "--team", "none")
    listed = run("workspaces", "list").stdout
    assert "Of none" in listed
    assert team not in listed
    run("teams", "delete", team)
    assert team not in run("teams", "list").stdout
    run("teams", "delete", team, code=4)
    run("teams", "rename", "../keys", "x", code=4)


def test_what_else_an_organization_has(run: Run, server: Server, tmp_path: Path) -> None:
    """Whoever has no browser could not sign anybody out, lend a part of the log, or trust an identity provider."""
    made = run(
        "viewers", "create", "workspace=ws-1", "--name", "customer", "--origin", "https://app.example.com"
    )
    token, viewer = made.stdout.strip(), made.stderr.split()[0]
    assert token.startswith("vwt_")
    assert "customer" in run("viewers", "list").stdout
    run("viewers", "end", viewer)
    assert "revoked" in run("viewers", "list").stdout
    run("viewers", "create", "workspace", code=2)
    secret = tmp_path / "secret"
    secret.write_text("not shown\n")
    # Nobody answers there, so nothing is kept.
    refused = run(
        "single-sign-on", "add", "Example ID", "https://127.0.0.1:9", "tallystick", "--secret-file", str(secret),
        "--group", "readers=AUDITOR", code=5,
    )  # fmt: skip
    assert "not shown" not in refused.stderr
    assert "issuer" in run("single-sign-on", "list").stdout
    run("single-sign-on", "remove", "idp_nobody", code=4)
    with server.client() as client:
        client.post("/scim/v2/Groups", json={"displayName": "From a directory"})
    (line,) = [line for line in run("groups", "list").stdout.splitlines() if "From a directory" in line]
    run("groups", "role", line.split()[0], "AUDITOR")
    assert "AUDITOR" in run("groups", "list").stdout
    run("groups", "role", line.split()[0], "none")
    run("groups", "role", "grp_nobody", "AUDITOR", code=4)
    assert "last seen" in run("sessions", "list").stdout
    run("sessions", "end", "ses_nobody", code=4)


def test_keys_of_operators(run: Run, server: Server) -> None:
    """Who runs the server could not look after an organization, or everybody's key could."""
    made = run("operator-keys", "create", "night shift", "-p", "read", "--days", "1")
    key, key_id = made.stdout.strip(), made.stderr.split(";")[0].split()[0]
    assert key.startswith("tso_")
    with server.client(key) as client:
        assert client.get("/v1/events").status_code == 400
        named = {"X-Organization-Id": str(server.organization_id)}
        assert client.get("/v1/events", headers=named).status_code == 200
        assert client.get("/v1/keys", headers=named).status_code == 403
        assert "night shift" in run("operator-keys", "list").stdout
        assert key not in run("operator-keys", "list").stdout
        run("operator-keys", "revoke", key_id)
        run("operator-keys", "revoke", "opk_nobody", code=4)

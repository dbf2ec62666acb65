"""`organizations`: acts on the database beside a running server, for any organization."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from postgres import Database
from server import PROGRAM, Server, Servers, event


def run(
    server: Server, *arguments: str, group: str = "organizations", data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `tallystick organizations …` on the server's database."""
    assert server.database is not None
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [*PROGRAM, group, *arguments, "--data", str(data or server.data)],
        env=clean | {"TALLYSTICK_DATABASE_URL": server.database.url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


run_keys = partial(run, group="operator-keys")


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


def acts_of(server: Server, key: str | None = None) -> list[dict[str, Any]]:
    """Return what the log tells of acts on the command line, in their order."""
    with server.client(key or "") as client:
        found = client.get("/v1/events", params={"stream": "tallystick", "limit": 1000, "order": "oldest"})
    return [one for one in found.json()["events"] if one["source"] == "command line"]


def test_what_is_done_is_in_the_log_at_once(servers: Servers, database: Database) -> None:
    """Whoever has the machine could close the log, or make keys to it, and leave no trace."""
    server = servers.start(database=database.logins.owner)
    made = run(server, "create", "Second")
    key = made.stdout.strip()
    first, second = acts_of(server, key)
    assert (first["position"], first["action"], first["after"]["display_name"]) == (
        0,
        "organization.created",
        "Second",
    )
    assert (second["action"], second["after"]["permissions"]) == ("key.created", ["organization:manage"])
    who = pwd.getpwuid(os.geteuid()).pw_name
    assert (first["actor"]["type"], first["metadata"]["os_user"]) == ("system", who)
    assert who in first["actor"]["name"]
    assert key not in json.dumps([first, second])
    # Recording goes on meanwhile: two processes write one log.
    with server.client(server.write_key) as client, ThreadPoolExecutor(1) as beside:
        answers = beside.submit(
            lambda: [client.post("/v1/events", json=event()).status_code for _ in range(150)]
        )
        for _ in range(2):
            switched = [
                run(server, name, str(server.organization_id))
                for name in ("disable-audit-logs", "enable-audit-logs")
            ]
            assert [(one.returncode, "kept beside" in one.stderr) for one in switched] == [(0, False)] * 2
        assert set(answers.result()) == {201}
    switches = acts_of(server)
    assert [one["action"].rpartition("_")[2] for one in switches] == ["disabled", "enabled"] * 2
    assert [one["before"]["can_use_audit_logs"] for one in switches] == [True, False] * 2
    made = run_keys(server, "create", "night shift", "-p", "read")
    run_keys(server, "revoke", made.stderr.split(";")[0])
    assert [(one["action"], one["after"].get("operator")) for one in acts_of(server)[4:]] == [
        ("key.created", True), ("key.revoked", True),
    ]  # fmt: skip
    server.check_whole_log()


def test_the_first_keys_are_in_the_log(servers: Servers, database: Database) -> None:
    """The most powerful key of all would be made by nobody."""
    server = servers.start(database=database.logins.owner)
    with server.client() as client:
        page = client.get("/v1/events", params={"stream": "tallystick", "limit": 4, "order": "oldest"}).json()
    assert [one["action"] for one in page["events"]] == [
        "organization.created", "key.created", "key.created", "signin.link_created",
    ]  # fmt: skip
    assert [one["after"]["permissions"] for one in page["events"][1:3]] == [
        ["organization:manage"],
        ["auditLogs:write"],
    ]
    server.stop()
    again = servers.start(database=database.logins.owner)
    with again.client() as client:
        found = client.get("/v1/events", params={"action": "key.created", "limit": 10}).json()["events"]
    assert len(found) == 2


def test_without_the_signing_key_a_server_records_it(servers: Servers, database: Database) -> None:
    """From another machine nothing could be done, or nobody would learn of it."""
    server = servers.start(database=database.logins.owner)
    second = servers.start(database=database.logins.owner)  # on the same data folder
    elsewhere = servers.folder / "elsewhere"
    done = run(server, "disable-audit-logs", data=elsewhere)
    assert (done.returncode, "kept beside" in done.stderr) == (0, True)
    assert run(server, "enable-audit-logs", data=elsewhere).returncode == 0
    assert not elsewhere.exists(), "a folder with a key that nobody knows"
    deadline = time.monotonic() + 60
    while len(acts_of(server)) < 2:
        assert time.monotonic() < deadline, "the servers did not record what waits"
        time.sleep(0.1)
    assert [one["action"].rpartition("_")[2] for one in acts_of(second)] == ["disabled", "enabled"]
    server.check_whole_log()


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

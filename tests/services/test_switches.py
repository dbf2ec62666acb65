"""The switches of reading: the documented SQL as it stands, settings, the command line, and who may."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from postgres import Database
from server import PROGRAM, Server, Servers, event
from tallystick.services.switches import may_read
from tallystick.store.cluster import programs_of_wheel

# Every surface that shows something of the log, and where its error has the words for a person.
SURFACES: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("/v1/events", lambda body: body["detail"]),
    ("/v1/events:count", lambda body: body["detail"]),
    ("/v1/events:histogram", lambda body: body["detail"]),
    ("/v1/events:facets", lambda body: body["detail"]),
    ("/v1/events/00000000-0000-4000-8000-000000000000", lambda body: body["detail"]),
    ("/v1/feed", lambda body: body["detail"]),
    ("/v1/export", lambda body: body["detail"]),
    ("/v1/export?format=ocsf", lambda body: body["detail"]),
    ("/v1/log/checkpoint", lambda body: body["detail"]),
    ("/v1/log/tile/0/000", lambda body: body["detail"]),
    ("/v1/log/proof/inclusion?position=0", lambda body: body["detail"]),
    ("/v1/quarantine", lambda body: body["detail"]),
    ("/v1/actions", lambda body: body["detail"]),
    ("/api/v1/audit-logs", lambda body: body["detail"]),
    ("/api/v1/audit-logs/operations", lambda body: body["detail"]),
    ("/v1/admin/audit-logs", lambda body: body["detail"]),
    ("/v1/organization/audit_logs", lambda body: body["error"]["message"]),
    ("/v1/compliance/activities", lambda body: body["error"]["message"]),
    ("/api/governance/ocsf", lambda body: body["message"]),
)
LANGSMITH = "/api/v1/audit-logs?start_time=2026-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z"


def psql(database: Database, statement: str) -> str:
    """Run one statement exactly as it is written in LangSmith's documentation."""
    command = [str(programs_of_wheel() / "psql"), "-X", "-v", "ON_ERROR_STOP=1", database.superuser.url]
    done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=True)
    return done.stdout


def wait_for(client: httpx2.Client, status: int) -> None:
    """Wait until reading answers with `status`; a switch may take five seconds."""
    deadline = time.monotonic() + 5
    while (found := client.get(LANGSMITH).status_code) != status:
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.05)


def check_closed(server: Server, *words: str) -> None:
    """Check that no surface shows anything, that each says what to do, and that recording goes on."""
    client = server.client()
    for path, sentence in SURFACES:
        answer = client.get(path)
        assert answer.status_code == 403, (path, answer.status_code, answer.text[:300])
        for word in words:
            assert word in sentence(answer.json()), path
    assert client.post("/v1/events", json=event()).status_code == 201
    batch = client.post("/v1/events:batch", json=[event(), event()])
    assert [one["status"] for one in batch.json()["results"]] == ["created", "created"]


def test_the_documented_statements(servers: Servers, database: Database) -> None:
    """An operator's runbook for self-hosted LangSmith works here as it stands, and without a restart."""
    server = servers.start(database=database.logins.owner)
    client = server.client()
    client.post("/v1/events", json=event())
    assert "audit_logs" in psql(database, r"\dt audit_logs")
    listed = psql(database, "SELECT id, display_name FROM organizations;")
    assert f"{server.organization_id} | First organization" in listed
    assert client.get(LANGSMITH).status_code == 200
    statement = (
        "UPDATE organizations SET config = COALESCE(config, '{}'::jsonb) || "
        "'{\"can_use_audit_logs\": %s}'::jsonb WHERE id = '%s';"
    )
    assert psql(database, statement % ("false", server.organization_id)).strip() == "UPDATE 1"
    wait_for(client, 403)
    check_closed(
        server,
        f"tallystick organizations enable-audit-logs {server.organization_id}",
        statement % ("true", server.organization_id),
    )
    psql(database, statement % ("true", server.organization_id))
    wait_for(client, 200)
    assert server.recorded() == 4, "what was recorded meanwhile is there"
    assert server.check_whole_log() >= 4


def test_the_switch_of_the_process(servers: Servers, database: Database) -> None:
    """AUDIT_LOGS_ENABLED=false closes everything, whatever an organization's own switch says."""
    server = servers.start(database=database.logins.owner, environment={"AUDIT_LOGS_ENABLED": "false"})
    check_closed(server, "AUDIT_LOGS_ENABLED=true")
    client = server.client()
    assert client.get("/info").json()["instance_flags"] == {"audit_logs_enabled": False}
    assert client.get("/healthz").status_code == 200
    shown = client.get("/v1/organization").json()
    assert (shown["can_use_audit_logs"], shown["audit_logs_enabled"]) == (True, False)


def test_the_default_is_written_into_new_organizations(servers: Servers, database: Database) -> None:
    """The default decides once, when an organization is made; from then on its own switch does."""
    off = {"DEFAULT_ORG_FEATURE_CAN_USE_AUDIT_LOGS": "false"}
    server = servers.start(database=database.logins.owner, environment=off)
    config = psql(database, "SELECT config->'can_use_audit_logs' FROM organizations")
    assert "false" in config
    client = server.client()
    wait_for(client, 403)
    check_closed(server, "enable-audit-logs")
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    environment = clean | off | {"TALLYSTICK_DATABASE_URL": database.logins.owner.url}
    command = [*PROGRAM, "organizations", "enable-audit-logs", str(server.organization_id)]
    subprocess.run([*command, "--data", str(server.data)], env=environment, check=True, capture_output=True)
    wait_for(client, 200)


def test_over_http(servers: Servers, database: Database) -> None:
    """Who manages an organization may switch, also while reading is off; the log says who did."""
    server = servers.start(database=database.logins.owner)
    client = server.client()
    reader = server.client(server.key("read"))
    assert reader.patch("/v1/organization", json={"can_use_audit_logs": False}).status_code == 403
    for wrong in ({}, {"can_use_audit_logs": "no"}, {"can_use_audit_logs": False, "more": 1}, []):
        assert client.patch("/v1/organization", json=wrong).status_code == 400, wrong
    answer = client.patch("/v1/organization", json={"can_use_audit_logs": False})
    assert answer.json()["can_use_audit_logs"] is False
    assert reader.get("/v1/events").status_code == 403, "at once on the server that was asked"
    assert client.patch("/v1/organization", json={"can_use_audit_logs": True}).status_code == 200
    assert reader.get("/v1/events").status_code == 200
    events = reader.get("/v1/feed").json()["events"]
    events = [one for one in events if one["action"].startswith("organization.audit_logs_")]
    assert [one["action"] for one in events] == [
        "organization.audit_logs_disabled", "organization.audit_logs_enabled",
    ]  # fmt: skip
    assert all(one["actor"]["type"] == "api_key" and one["actor"]["name"] for one in events)
    assert all(one["source"] == "tallystick" and one["stream"] == "tallystick" for one in events)
    assert [(one["before"], one["after"]) for one in events] == [
        ({"can_use_audit_logs": True}, {"can_use_audit_logs": False}),
        ({"can_use_audit_logs": False}, {"can_use_audit_logs": True}),
    ]
    assert all(one["context"]["ip"] and one["context"]["request_id"] for one in events)


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"can_use_audit_logs": None}, None),
        ({"other": True}, None),
        ({"can_use_audit_logs": True}, True),
        ({"can_use_audit_logs": False}, False),
        ({"can_use_audit_logs": "true"}, False),
        ({"can_use_audit_logs": 1}, False),
    ],
)
def test_what_a_config_says(config: dict[str, object], expected: bool | None, default: bool) -> None:
    """A slip of the hand in SQL must not open a log that somebody wanted closed."""
    assert may_read(config, default) is (default if expected is None else expected)

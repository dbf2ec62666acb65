"""The log of the log: what is done to Tallystick, and who looked at what, is on record."""

from __future__ import annotations

import json

import psycopg
import pytest

from own_events import end, own_events, settle
from server import Server, Servers, event


def test_an_admin_key_in_use_is_on_record_once(server: Server) -> None:
    """A stolen key of the owner would be used for months without a trace."""
    key = server.key("admin")
    before = end(server)
    with server.client(key) as client:
        for _ in range(20):
            assert client.get("/v1/events:count").status_code == 200
    (found,) = own_events(server, before)
    assert (found["action"], found["outcome"]) == ("key.used", "success")
    assert found["metadata"] == {"operation": "countEvents"}
    assert found["actor"]["type"] == "api_key"
    assert found["actor"]["id"] == found["targets"][0]["id"] == found["actor"]["credential_id"]
    assert found["context"]["ip"] == "127.0.0.1"
    assert key not in json.dumps(found)


def test_a_denied_attempt_is_on_record_and_counted(server: Server) -> None:
    """Whoever tries doors would leave no trace, or would fill the log with it."""
    with server.client(server.key("write")) as client:
        before = end(server)
        for _ in range(200):
            assert client.get("/v1/events", params={"user": "ada"}).status_code == 403
        assert client.get("/v1/keys").status_code == 403
    found = own_events(server, before)
    assert [(one["action"], one["outcome"]) for one in found] == [("access.denied", "denied")] * 2
    assert [one["targets"][0]["id"] for one in found] == ["searchEvents", "listKeys"]
    assert found[0]["error"]["code"] == "forbidden"
    assert "auditLogs:read" in found[0]["error"]["message"]


def test_a_revoked_key_is_recognised_and_an_unknown_one_counted(server: Server) -> None:
    """A key that leaked and was revoked would be tried by strangers, and nobody would know that it leaked."""
    with server.client() as admin:
        made = admin.post("/v1/keys", json={"name": "leaked", "permissions": ["read"]}).json()
        assert admin.delete(f"/v1/keys/{made['id']}").status_code == 200
    before = end(server)
    unknown = _unknown(server)
    with server.client(made["key"]) as leaked:
        answer = leaked.get("/v1/events")
        assert answer.status_code == 401
    with server.client("tst_" + "0" * 49) as stranger:
        other = stranger.get("/v1/events")
    assert (other.status_code, other.content) == (401, answer.content), "the answer tells them apart"
    found = _wait_for(server, before, 1)
    assert [(one["action"], one["outcome"]) for one in found] == [("access.denied", "denied")]
    assert found[0]["actor"]["id"] == made["id"]
    assert found[0]["error"]["code"] == "revoked"
    while _unknown(server) == unknown:
        settle(server)


def _unknown(server: Server) -> float:
    with server.client(None) as client:
        lines = client.get("/metrics").text.splitlines()
    return float(
        next(line for line in lines if line.startswith("tallystick_unknown_credentials_total")).split()[1]
    )


def _wait_for(server: Server, before: int, number: int) -> list[dict]:
    while len(found := own_events(server, before)) < number:
        pass
    return found


def test_an_export_is_on_record_before_it_begins(server: Server) -> None:
    """The whole log would leave the building and the log would not say by whom."""
    key = server.key("auditLogs:read", "auditLogs:export")
    before = end(server)
    with server.client(key) as client:
        with client.stream("GET", "/v1/export", params={"action": "^key.", "format": "ocsf"}) as answer:
            assert answer.status_code == 200
            assert [one["action"] for one in own_events(server, before)] == ["events.exported"]
            answer.read()
        for _ in range(2):
            assert client.get("/v1/export", params={"action": "^key."}).status_code == 200
    found = own_events(server, before)
    assert [one["action"] for one in found] == ["events.exported"] * 3, "no two exports are one"
    assert found[0]["metadata"] == {
        "operation": "export", "filters": {"action": ["^key."], "format": ["ocsf"]},
    }  # fmt: skip
    assert found[0]["targets"] == [{"type": "audit_log", "id": str(server.organization_id)}]


def test_a_refused_export_is_on_record(server: Server) -> None:
    """Whoever tries to carry the log away and may not would stay unseen."""
    before = end(server)
    with server.client(server.key("auditLogs:read")) as client:
        assert client.get("/v1/export", params={"format": "jsonl"}).status_code == 403
    with server.client(server.key("auditLogs:export")) as client:
        assert client.get("/v1/export", params={"format": "nothing"}).status_code == 400
    found = [one for one in own_events(server, before) if one["action"] != "key.created"]
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("events.exported", "denied"), ("events.exported", "failure"),
    ]  # fmt: skip
    assert found[0]["metadata"]["filters"] == {"format": ["jsonl"]}
    assert found[1]["error"]["code"] == "format"


def test_no_export_without_its_record(servers: Servers, database) -> None:
    """A full disk would be the way to read everything unseen."""
    server = servers.start(database=database.logins.owner)
    client = server.client(server.key("read", "write"))
    assert client.post("/v1/events", json=event()).status_code == 201
    with psycopg.connect(database.superuser.url, autocommit=True) as superuser:
        superuser.execute("ALTER TABLE log_head ADD CONSTRAINT full_disk CHECK (size < 0) NOT VALID")
        answer = client.get("/v1/export")
        assert answer.status_code >= 500, answer.text
        assert "api_key.create" not in answer.text
        assert client.get("/v1/events").status_code == 200, "a search by a key is none of a person's"
        superuser.execute("ALTER TABLE log_head DROP CONSTRAINT full_disk")
    assert client.get("/v1/export").status_code == 200


def test_a_refused_change_is_on_record(server: Server) -> None:
    """An administrator's attempts to do what cannot be done would be forgotten."""
    # A key of its own: what another one tried within this minute would be counted with it.
    key = server.key("admin")
    before = end(server)
    with server.client(key) as admin:
        assert admin.delete("/v1/keys/key_unknown").status_code == 404
        assert admin.post("/v1/keys", json={"name": "", "permissions": ["read"]}).status_code == 400
    found = [one for one in own_events(server, before) if one["action"] != "key.used"]
    assert [(one["action"], one["outcome"]) for one in found] == [("change.refused", "failure")] * 2
    assert [one["targets"][0]["id"] for one in found] == ["revokeKey", "createKey"]
    assert found[0]["metadata"]["named"] == ["key_unknown"]


def test_starts_stops_and_settings(servers: Servers, database) -> None:
    """A server that was stopped for an hour, or started with reading switched on, would leave no trace."""
    owner = database.logins.owner
    first = servers.start(database=owner)
    assert first.stop() == 0
    second = servers.start(database=owner, environment={"TALLYSTICK_QUEUE_EVENTS_MAX": "777"})
    found = [one for one in own_events(second) if one["action"].startswith("server.")]
    assert [one["action"] for one in found] == [
        "server.started", "server.stopped", "server.started", "server.settings_changed",
    ]  # fmt: skip
    assert [one["metadata"]["stopped_before"] for one in (found[0], found[2])] == [None, True]
    assert found[3]["before"] == {"TALLYSTICK_QUEUE_EVENTS_MAX": "20000"}
    assert found[3]["after"] == {"TALLYSTICK_QUEUE_EVENTS_MAX": "777"}
    assert found[0]["actor"]["type"] == "system"
    second.kill()
    third = servers.start(database=owner, environment={"TALLYSTICK_QUEUE_EVENTS_MAX": "777"})
    last = [one for one in own_events(third) if one["action"].startswith("server.")][-1]
    assert (last["action"], last["metadata"]["stopped_before"]) == ("server.started", False)
    password = owner.password
    assert password
    assert password not in json.dumps(own_events(third))
    assert password not in (third.data / "last-start.json").read_text()


@pytest.mark.parametrize("query", ["-stream:tallystick", "-stream:tallystick -action:zzz"])
def test_a_reader_can_hide_it(server: Server, query: str) -> None:
    """What Tallystick writes about itself would stand between a reader and what they look for."""
    with server.client() as client:
        seen = client.get("/v1/events", params={"q": query, "limit": 1000}).json()["events"]
        own = client.get("/v1/events", params={"stream": "tallystick"}).json()["events"]
    assert "tallystick" not in {one["stream"] for one in seen}
    assert {one["stream"] for one in own} == {"tallystick"}


def test_nobody_records_it_but_the_server(server: Server) -> None:
    """A producer could forge what looks like the server's own record."""
    forged = event(stream="tallystick", action="key.created")
    key = server.key("auditLogs:write", "auditLogs:read")
    with server.client(key) as client:
        alone = client.post("/v1/events", json=forged)
        batch = client.post("/v1/events:batch", json=[event(), forged, event()]).json()["results"]
        strangers = client.get(
            "/v1/events", params={"q": "stream:tallystick action:key.created", "limit": 1000}
        )
    assert (alone.status_code, alone.json()["rule"], alone.json()["path"]) == (400, "own_stream", "/stream")
    assert [one["status"] for one in batch] == ["created", "rejected", "created"]
    assert (batch[1]["error"]["rule"], batch[1]["error"]["path"]) == ("own_stream", "/stream")
    assert {one["source"] for one in strangers.json()["events"]} == {"tallystick"}
    assert forged["id"] not in {one["id"] for one in strangers.json()["events"]}

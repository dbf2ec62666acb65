"""Every call leaves the trace that is declared for it: one event, or none for a reason that is written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from own_events import end, own_events
from people import PASSWORD, add_member, sign_in
from postgres import Cluster, fresh_database
from server import Server, Servers, event, server_folder
from tallystick.catalogue.load import catalogue
from tallystick.services.permissions import ANYONE, EXPORT, READ, WRITE
from tallystick.web.app import OPERATIONS
from tallystick.web.traces import CHANGES, LOOKS, UNRECORDED
from tallystick.web.ui.routes import PAGES

EVERYTHING = (*OPERATIONS, *PAGES)


@pytest.fixture(scope="module")
def house(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server of this module's own, whose log holds what these tests do and nothing else."""
    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        try:
            yield running.start(database=database.logins.owner)
        finally:
            running.stop()


def test_everything_is_declared_once() -> None:
    """A new endpoint would change something, or show the log, without a trace and without a reason."""
    names = {one.name for one in EVERYTHING}
    for one in EVERYTHING:
        places = [one.name in table for table in (LOOKS, CHANGES, UNRECORDED)]
        must = one.method not in ("GET", "HEAD") or one.permission in (READ, EXPORT)
        assert sum(places) == 1 if must else sum(places) <= 1, f"{one.method} {one.path} ({one.name})"
    for table in (LOOKS, CHANGES, UNRECORDED):
        assert not table.keys() - names, "declared for what is no longer there"


def test_every_action_is_in_the_catalogue() -> None:
    """A reader would see a name that nothing explains."""
    known = set(catalogue()["tallystick"].actions)
    recorded = {action for actions in CHANGES.values() for action in actions}
    recorded |= {look.action for look in LOOKS.values()}
    recorded |= {"access.denied", "change.refused", "key.used", "server.started", "server.settings_changed"}
    assert recorded <= known, recorded - known


def test_every_denied_call_is_one_event(house: Server) -> None:
    """A door would be tried without a trace, or with two."""
    for one in OPERATIONS:
        if one.permission in (None, ANYONE):
            continue  # open to whoever holds a key of the organization
        with house.client(house.key("read" if one.permission == WRITE else "write")) as client:
            before = end(house)
            answers = [client.request(one.method, path_of(one.path)) for _ in range(2)]
            assert {answer.status_code for answer in answers} == {403}, (one.name, answers[0].text)
        (found,) = [one for one in own_events(house, before) if one["action"] != "key.used"]
        expected = "events.exported" if one.name == "export" else "access.denied"
        assert (found["action"], found["outcome"]) == (expected, "denied"), one.name
        named = found["metadata"]["operation"] if one.name == "export" else found["targets"][0]["id"]
        assert named == one.name
        told = answers[0].json().get("request_id")
        assert told is None or told == found["context"]["request_id"], one.name


def path_of(path: str) -> str:
    """Return a path with its parameters filled in."""
    return re.sub(r"\{[^}]*\}", "x", path)


@dataclass
class Doing:
    """Who acts, and what was made so far."""

    server: Server
    admin: httpx2.Client
    made: dict[str, Any] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Ask as the administrator; return the answer's JSON."""
        answer = self.admin.request(method, path.format(**self.made), json=body, **more)
        assert answer.status_code in (200, 201, 204), f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None


USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
DECLARATION = {
    "name": "invoice.approve", "version": 1, "title": "Invoice approved", "verb": "update", "target_type": "invoice",
    "schema": {"type": "object", "required": ["after"]},
}  # fmt: skip


def keep(name: str, key: str = "id") -> Callable[[Doing, Any], None]:
    """Remember a part of an answer for the steps after it."""

    def do(doing: Doing, answer: Any) -> None:
        for part in key.split("."):
            answer = answer[part]
        doing.made[name] = answer

    return do


def nothing(doing: Doing, answer: Any) -> None:
    """Remember nothing."""


# In an order in which each finds what it needs: operation, path, body, what to remember of the answer.
STEPS: tuple[tuple[str, str, Any, Callable[[Doing, Any], None]], ...] = (
    ("switchOrganization", "/v1/organization", {"can_use_audit_logs": True}, nothing),
    ("createKey", "/v1/keys", {"name": "one", "permissions": ["read"]}, keep("key")),
    ("rotateKey", "/v1/keys/{key}:rotate", {}, nothing),
    ("revokeKey", "/v1/keys/{key}", None, nothing),
    ("registerAction", "/v1/actions", DECLARATION, nothing),
    ("createTeam", "/v1/teams", {"display_name": "Team"}, keep("team")),
    ("renameTeam", "/v1/teams/{team}", {"display_name": "Another"}, nothing),
    ("createWorkspace", "/v1/workspaces", {"display_name": "Work"}, keep("workspace")),
    ("changeWorkspace", "/v1/workspaces/{workspace}", {"display_name": "Works"}, nothing),
    ("createRole", "/v1/roles", {"name": "Support", "permissions": ["auditLogs:read"]}, keep("role")),
    ("changeRole", "/v1/roles/{role}", {"name": "Second line"}, nothing),
    ("inviteMember", "/v1/members", {"email": "bob@example.com", "role": "VIEWER"}, keep("member", "member.id")),
    ("changeMember", "/v1/members/{member}", {"role": "AUDITOR"}, nothing),
    ("setWorkspaceRole", "/v1/members/{member}/workspaces/{workspace}", {"role": "AUDITOR"}, nothing),
    ("removeWorkspaceRole", "/v1/members/{member}/workspaces/{workspace}", None, nothing),
    ("createSignInLink", "/v1/sign-in-links", {"member_id": "{member}"}, nothing),
    ("scimCreateUser", "/scim/v2/Users", {"schemas": [USER], "userName": "eve@example.com"}, keep("user")),
    ("scimReplaceUser", "/scim/v2/Users/{user}", {"schemas": [USER], "userName": "eve2@example.com"}, nothing),
    ("scimPatchUser", "/scim/v2/Users/{user}",
     {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}, nothing),
    ("scimCreateGroup", "/scim/v2/Groups", {"schemas": [GROUP], "displayName": "Auditors"}, keep("group")),
    ("scimReplaceGroup", "/scim/v2/Groups/{group}", {"schemas": [GROUP], "displayName": "All auditors"}, nothing),
    ("scimPatchGroup", "/scim/v2/Groups/{group}",
     {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": "{user}"}]}]}, nothing),
    ("changeGroup", "/v1/groups/{group}", {"role": "AUDITOR"}, nothing),
    ("scimRemoveGroup", "/scim/v2/Groups/{group}", None, nothing),
    ("scimRemoveUser", "/scim/v2/Users/{user}", None, nothing),
    ("createViewer", "/v1/viewer-sessions", {"filters": {"tenant": "ws_1"}}, keep("viewer")),
    ("revokeViewer", "/v1/viewer-sessions/{viewer}", None, nothing),
    ("removeMember", "/v1/members/{member}", None, nothing),
    ("removeRole", "/v1/roles/{role}", None, nothing),
    ("deleteWorkspace", "/v1/workspaces/{workspace}", None, nothing),
    ("deleteTeam", "/v1/teams/{team}", None, nothing),
)  # fmt: skip
# Not among the steps, and where they are tried instead.
ELSEWHERE = {
    **dict.fromkeys(
        (
            "approve",
            "changeRetention",
            "erase",
            "refuse",
            "releaseHold",
            "runRetention",
            "setHold",
            "switchDualControl",
        ),
        "tests/services/test_purge.py and its neighbours, tests/cli/test_keeping.py",
    ),
    "changeIdentityProvider": "tests/sign_in",
    "createIdentityProvider": "tests/sign_in",
    "removeIdentityProvider": "tests/sign_in",
    "exchangeViewer": "tests/web/test_viewers.py",
    **dict.fromkeys(("fetchEvidence", "issueEvidence", "issuePack"), "tests/evidence/test_surfaces.py"),
    "reprocessQuarantine": "tests/services/test_registered.py",
    "resetSecondFactor": "tests/sign_in",
    "revokeSession": "tests/sign_in",
}


def test_every_change_is_one_event(house: Server) -> None:
    """Somebody would change who may do what, and the log would not say so, or say so twice."""
    by_name = {one.name: one for one in OPERATIONS}
    missing = (
        {one.name for one in OPERATIONS if one.name in CHANGES}
        - {step[0] for step in STEPS}
        - ELSEWHERE.keys()
    )
    assert not missing, "a change that no step tries"
    with house.client() as admin:
        doing = Doing(house, admin)
        for name, path, body, remember in STEPS:
            before = end(house)
            answer = doing.ask(by_name[name].method, path, fill(body, doing.made))
            found = [one for one in own_events(house, before) if one["action"] != "key.used"]
            assert len(found) == 1, (name, [one["action"] for one in found])
            assert found[0]["action"] in CHANGES[name], name
            assert found[0]["outcome"] == "success"
            assert found[0]["source"] == "tallystick"
            assert found[0]["targets"], name
            assert found[0]["actor"]["credential_id"], name
            assert found[0]["context"]["ip"] == "127.0.0.1", name
            assert found[0]["context"]["request_id"].startswith("req_"), name
            remember(doing, answer)


def fill(body: Any, made: dict[str, Any]) -> Any:
    """Return a body with the ids of what was made before."""
    if isinstance(body, str):
        return body.format(**made) if body.startswith("{") and body.endswith("}") else body
    if isinstance(body, dict):
        return {key: fill(value, made) for key, value in body.items()}
    return [fill(value, made) for value in body] if isinstance(body, list) else body


@pytest.fixture(scope="module")
def auditor(house: Server) -> httpx2.Client:
    """A browser in which an auditor has signed in."""
    sign_in(house)
    add_member(house, "auditor@example.com", "AUDITOR")
    return sign_in(house, "auditor@example.com", PASSWORD)


def test_a_page_reloaded_a_thousand_times(house: Server, auditor: httpx2.Client) -> None:
    """A reader who reloads would drown the log in the record of it."""
    before = end(house)
    for _ in range(200):
        assert auditor.get("/v1/events", params={"user": "ada", "limit": 5}).status_code == 200
    assert auditor.get("/v1/events:count", params={"user": "ada"}).status_code == 200
    assert auditor.get("/v1/events", params={"user": "bob"}).status_code == 200
    found = own_events(house, before)
    assert [one["action"] for one in found] == ["events.searched"] * 2
    assert [one["metadata"]["filters"] for one in found] == [{"user": ["ada"]}, {"user": ["bob"]}]
    assert found[0]["actor"] == {
        "type": "user", "id": "mbr_auditor", "name": "Auditor", "email": "auditor@example.com",
        "credential_id": found[0]["actor"]["credential_id"],
    }  # fmt: skip
    assert found[0]["context"]["session_id"] == found[0]["actor"]["credential_id"]
    assert found[0]["actor"]["credential_id"].startswith("ses_")


def test_a_view_is_on_record_before_it_is_answered(house: Server, auditor: httpx2.Client) -> None:
    """Somebody would read an event and deny it."""
    with house.client(house.write_key) as client:
        made = client.post("/v1/events", json=event()).json()["id"]
    before = end(house)
    assert auditor.get(f"/v1/events/{made}").status_code == 200
    for _ in range(5):
        assert auditor.get(f"/v1/events/{made}").status_code == 200
    unknown = str(uuid4())
    assert auditor.get(f"/v1/events/{unknown}").status_code == 404
    found = own_events(house, before)
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("event.viewed", "success"), ("event.viewed", "failure"),
    ]  # fmt: skip
    assert [one["targets"] for one in found] == [[{"type": "event", "id": one}] for one in (made, unknown)]


def test_pages_leave_the_same_trace(house: Server, auditor: httpx2.Client) -> None:
    """A person would read on the pages what the API records, without a trace."""
    with house.client(house.write_key) as client:
        made = client.post("/v1/events", json=event()).json()["id"]
    before = end(house)
    assert auditor.get("/events", params={"outcome": "success"}).status_code == 200
    assert auditor.get("/events", params={"outcome": "success", "event": made}).status_code == 200
    assert auditor.get(f"/events/{made}").status_code == 200
    assert auditor.get("/settings/members").status_code in (403, 404)
    recorded = own_events(house, before)
    found = [(one["action"], one["outcome"]) for one in recorded]
    assert found == [
        ("events.searched", "success"),
        ("event.viewed", "success"),
        ("access.denied", "denied"),
    ], recorded


def test_a_member_tries_the_log(house: Server, auditor: httpx2.Client) -> None:
    """The owner would not see that somebody without the right has tried to read the log."""
    add_member(house, "member@example.com", "MEMBER")
    member = sign_in(house, "member@example.com", PASSWORD)
    before = end(house)
    assert member.get("/events", params={"user": "owner"}).status_code == 403
    (found,) = own_events(house, before)
    assert (found["action"], found["outcome"]) == ("access.denied", "denied")
    assert found["actor"]["email"] == "member@example.com"
    assert found["targets"] == [{"type": "operation", "id": "eventsPage"}]
    assert "auditLogs:read" in found["error"]["message"]

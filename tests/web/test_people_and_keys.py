"""Members, roles, workspaces and keys over HTTP: who may change whom, what ends when, and what the log says of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from people import add_member, events_of, execute, sign_in
from postgres import Cluster, Database, fresh_database
from server import Server, Servers, event, server_folder
from tallystick.errors import Unauthorized
from tallystick.event.limits import DEVELOPER
from tallystick.web.attempts import FailedAttempts

SECONDS = 5.0


@pytest.fixture(scope="module")
def home(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server of this module's own, with its first owner."""
    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        try:
            server = running.start(database=database.logins.owner)
            sign_in(server)
            yield server
        finally:
            running.stop()


def person(server: Server, name: str, role: str) -> tuple[str, httpx2.Client]:
    """Make a member with a role; return its id and the browser it is signed in with."""
    email = f"{name}@example.com"
    return add_member(server, email, role), sign_in(server, email)


def within(seconds: float, what: Callable[[], bool]) -> None:
    """Fail unless `what` holds before the time is over."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.1)


def last(server: Server, action: str) -> dict[str, Any]:
    """Return the newest event of an action."""
    return events_of(server, action)[0]


def test_the_last_owner_cannot_go(home: Server) -> None:
    """An organization would be left that nobody can manage any more."""
    with home.client() as admin:
        owner = next(one for one in admin.get("/v1/members").json()["members"] if one["role"] == "OWNER")
        path = f"/v1/members/{owner['id']}"
        for answer in (
            admin.patch(path, json={"role": "VIEWER"}), admin.patch(path, json={"active": False}), admin.delete(path),
        ):  # fmt: skip
            assert (answer.status_code, answer.json()["rule"]) == (400, "last_owner")
        assert admin.get(path).json() == owner, "something was changed all the same"
        # Somebody who was only invited cannot sign in yet, and does not count.
        invited = admin.post("/v1/members", json={"email": "later@example.com", "role": "OWNER"}).json()[
            "member"
        ]
        assert admin.delete(path).status_code == 400
        second, _ = person(home, "second.owner", "OWNER")
        assert admin.patch(f"/v1/members/{second}", json={"role": "VIEWER"}).status_code == 200
        assert admin.delete(f"/v1/members/{invited['id']}").status_code == 200


def test_nobody_gives_more_than_they_hold(home: Server) -> None:
    """An admin would become an owner by way of a friend, a role or a key."""
    _, admin = person(home, "some.admin", "ADMIN")
    victim, _ = person(home, "victim", "OWNER")
    friend, _ = person(home, "friend", "VIEWER")
    tries = [
        admin.post("/v1/members", json={"email": "x@example.com", "role": "OWNER"}),
        admin.patch(f"/v1/members/{friend}", json={"role": "OWNER"}),
        admin.patch(f"/v1/members/{victim}", json={"role": "VIEWER"}),
        admin.delete(f"/v1/members/{victim}"),
        admin.post("/v1/keys", json={"name": "k", "permissions": ["admin"]}),
        admin.post("/v1/sign-in-links", json={"member_id": victim}),
    ]
    assert [answer.status_code for answer in tries] == [403] * len(tries), [one.text for one in tries]
    wide = admin.post("/v1/roles", json={"name": "wide", "permissions": ["admin"]})
    assert (wide.status_code, wide.json()["rule"]) == (400, "permission")
    assert admin.patch(f"/v1/members/{friend}", json={"role": "AUDITOR"}).status_code == 200


def test_a_change_is_on_record_with_before_and_after(home: Server) -> None:
    """Who made somebody an admin could not be told afterwards."""
    member, _ = person(home, "rising", "VIEWER")
    with home.client() as admin:
        assert admin.patch(f"/v1/members/{member}", json={"role": "ADMIN"}).status_code == 200
        found = last(home, "member.role_changed")
        assert (found["before"], found["after"]) == ({"role": "VIEWER"}, {"role": "ADMIN"})
        assert found["targets"][0]["id"] == member
        assert admin.patch(f"/v1/members/{member}", json={"active": False}).status_code == 200
        assert last(home, "member.deactivated")["after"] == {"active": False}
        before = len(events_of(home, "member.role_changed"))
        assert admin.patch(f"/v1/members/{member}", json={"role": "ADMIN"}).status_code == 200
        assert len(events_of(home, "member.role_changed")) == before, "nothing changed, and it is on record"


def test_who_is_removed_is_shut_out(home: Server) -> None:
    """A leaver's open browser would go on reading."""
    member, browser = person(home, "leaver", "AUDITOR")
    assert browser.get("/v1/events").status_code == 200
    with home.client() as admin:
        assert admin.delete(f"/v1/members/{member}").status_code == 200
        assert admin.get(f"/v1/members/{member}").status_code == 404
    assert browser.get("/v1/events").status_code == 401
    assert execute(home, "SELECT password_hash, active FROM members WHERE id = %s", member) == [(None, False)]
    again = add_member(home, "leaver2@example.com", "VIEWER", password=None)
    with home.client() as admin:  # the address is free again, the id is not
        made = admin.post("/v1/members", json={"email": "leaver@example.com", "role": "VIEWER"})
    assert made.status_code == 201
    assert made.json()["member"]["id"] not in (member, again)


def test_a_live_stream_follows_what_its_reader_may_see(home: Server) -> None:
    """A stream lives for days: who was moved to one workspace, or lost the role, would go on reading everything."""
    member, browser = person(home, "streaming", "AUDITOR")
    with home.client() as admin:
        admin.post("/v1/workspaces", json={"id": "w-live", "display_name": "Live"})
        start = admin.get("/v1/feed", params={"limit": 1000}).json()["next"]
        headers, path = {"Accept": "text/event-stream"}, f"/v1/members/{member}"
        with browser.stream("GET", f"/v1/feed?after={start}&stream=platform", headers=headers) as stream:
            lines = stream.iter_lines()
            admin.post("/v1/events", json=event(action="seen.before"))
            assert any("seen.before" in line for line in lines)
            assert admin.put(f"{path}/workspaces/w-live", json={"role": "AUDITOR"}).status_code == 200
            assert admin.patch(path, json={"role": "MEMBER"}).status_code == 200
            admin.post("/v1/events", json=event(action="hidden.now"))
            admin.post("/v1/events", json=event(action="seen.still", workspace="w-live"))
            told = next(line for line in lines if "hidden.now" in line or "seen.still" in line)
            assert "seen.still" in told
            assert admin.delete(f"{path}/workspaces/w-live").status_code == 200
            admin.post("/v1/events", json=event(action="hidden.too", workspace="w-live"))
            rest = "\n".join(lines)
        assert "hidden.too" not in rest
        assert "event: problem" in rest


def test_a_live_stream_ends_when_reading_is_switched_off(home: Server) -> None:
    """The switch would close every surface but the one that was open already."""
    live = {"Accept": "text/event-stream"}
    with (
        home.client() as admin,
        home.client(home.key("read")) as reader,
        reader.stream("GET", "/v1/feed?after=0", headers=live) as stream,
    ):
        lines = stream.iter_lines()
        assert any(line.startswith("id:") for line in lines)
        assert admin.patch("/v1/organization", json={"can_use_audit_logs": False}).status_code == 200
        try:
            assert "audit_logs_off" in "\n".join(lines)
        finally:
            assert admin.patch("/v1/organization", json={"can_use_audit_logs": True}).status_code == 200


def test_an_own_role_changes_for_all_who_have_it(home: Server) -> None:
    """Taking a permission from a role would leave it with those who are signed in."""
    with home.client() as admin:
        role = admin.post("/v1/roles", json={"name": "Reader", "permissions": ["auditLogs:read"]}).json()[
            "id"
        ]
        _, browser = person(home, "reader", role)
        assert browser.get("/v1/events").status_code == 200
        assert browser.get("/v1/export").status_code == 403
        changed = admin.patch(f"/v1/roles/{role}", json={"permissions": ["auditLogs:export"]})
        assert changed.status_code == 200
        assert browser.get("/v1/events").status_code == 403
        in_use = admin.delete(f"/v1/roles/{role}")
        assert (in_use.status_code, in_use.json()["rule"]) == (409, "role_in_use")
        taken = admin.post("/v1/roles", json={"name": "READER", "permissions": ["auditLogs:read"]})
        assert (taken.status_code, taken.json()["rule"]) == (409, "name_taken")
        assert admin.post("/v1/roles", json={"name": "Owner", "permissions": ["read"]}).status_code == 400


def test_a_role_of_a_workspace_gives_no_more_than_a_workspace(home: Server) -> None:
    """A role with rights over the whole organization would be handed out on one workspace."""
    with home.client() as admin:
        admin.post("/v1/workspaces", json={"id": "w-roles", "display_name": "Roles"})
        role = admin.post("/v1/roles", json={"name": "Keys", "permissions": ["keys:manage"]}).json()["id"]
        member, browser = person(home, "narrow", "MEMBER")
        path = f"/v1/members/{member}/workspaces/w-roles"
        assert admin.put(path, json={"role": role}).status_code == 400
        assert admin.put(path, json={"role": "OWNER"}).status_code == 400
        assert browser.get("/v1/events").status_code == 403
        assert admin.put(path, json={"role": "AUDITOR"}).status_code == 200
        assert browser.get("/v1/events").json()["events"] == []
        admin.post("/v1/events", json=event(workspace="w-roles"))
        seen = browser.get("/v1/events").json()["events"]
        assert {one["workspace"] for one in seen} == {"w-roles"}
        assert [one["id"] for one in browser.get("/v1/workspaces").json()["workspaces"]] == ["w-roles"]
        assert admin.delete(path).status_code == 200
        assert browser.get("/v1/events").status_code == 403
        assert admin.delete(path).status_code == 404


def test_an_archived_workspace_is_read_and_takes_nothing_from_its_keys(home: Server) -> None:
    """Archiving would hide events, or a forgotten key would go on recording into what is closed."""
    with home.client() as admin:
        admin.post("/v1/workspaces", json={"id": "w-old", "display_name": "Old"})
        with home.client(home.key("read", "write", workspace="w-old")) as key:
            assert key.post("/v1/events", json=event()).status_code == 201
            assert admin.patch("/v1/workspaces/w-old", json={"archived": True}).json()["archived_at"]
            assert key.post("/v1/events", json=event()).status_code == 403
            assert len(key.get("/v1/events").json()["events"]) == 1
            assert last(home, "workspace.archived")["before"]["archived"] is False
            assert admin.patch("/v1/workspaces/w-old", json={"archived": False}).json()["archived_at"] is None
            assert key.post("/v1/events", json=event()).status_code == 201
            assert admin.delete("/v1/workspaces/w-old").status_code == 200
            assert key.get("/v1/events").status_code == 401
        assert len(admin.get("/v1/events", params={"workspace": "w-old"}).json()["events"]) == 2
        again = admin.post("/v1/workspaces", json={"id": "w-old", "display_name": "New"})
        assert (again.status_code, again.json()["rule"]) == (409, "id_taken")
        assert admin.patch("/v1/workspaces/w-old", json={"archived": True}).status_code == 404
        for wrong in ("-", "", " x", "x" * (DEVELOPER["workspace"] + 1), "a\nb"):
            made = admin.post("/v1/workspaces", json={"id": wrong, "display_name": "x"})
            assert made.status_code == 400, wrong


def test_a_rotated_key_works_on_for_a_day(home: Server) -> None:
    """Rotation would cut off a producer, or the old key would live for ever."""
    with home.client() as admin:
        old = admin.post(
            "/v1/keys", json={"name": "billing", "permissions": ["write"], "expires_in_days": 90}
        ).json()
        new = admin.post(f"/v1/keys/{old['id']}:rotate").json()
        for key in (old["key"], new["key"]):
            with home.client(key) as client:
                assert client.post("/v1/events", json=event()).status_code == 201
        kept = {one["id"]: one for one in admin.get("/v1/keys").json()["keys"]}
        assert kept[new["id"]]["rotated_from"] == old["id"]
        assert kept[new["id"]]["last_used_ip"] == "127.0.0.1"
        (hours,) = execute(
            home, "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM api_keys WHERE id = %s", old["id"]
        )[0]  # fmt: skip
        assert 23.9 < hours <= 24
        twice = admin.post(f"/v1/keys/{old['id']}:rotate")
        assert (twice.status_code, twice.json()["rule"]) == (409, "key_over")
        execute(home, "UPDATE api_keys SET expires_at = now() WHERE id = %s", old["id"])
        with home.client(old["key"]) as client:
            within(SECONDS, lambda: client.get("/v1/me").status_code == 401)
        assert admin.post(f"/v1/keys/{old['id']}:rotate").status_code == 409
        assert admin.delete(f"/v1/keys/{new['id']}").status_code == 200
        assert admin.delete(f"/v1/keys/{new['id']}").status_code == 200, "once more changes nothing"
        assert (
            len([one for one in events_of(home, "key.revoked") if one["targets"][0]["id"] == new["id"]]) == 1
        )


def test_what_ends_on_one_server_ends_on_the_other(servers: Servers, database: Database) -> None:
    """A revoked key, role or session would open a second server for longer than five seconds."""
    first = servers.start("data", database=database.logins.owner)
    sign_in(first)
    key = first.key("read")
    _, browser = person(first, "everywhere", "AUDITOR")
    second = servers.start("data", database=database.logins.owner)
    there = httpx2.Client(
        base_url=second.url, cookies=dict(browser.cookies), headers={"Origin": second.url}, timeout=30.0
    )
    with there, second.client(key) as reader, first.client() as admin:
        assert reader.get("/v1/events").status_code == 200
        assert there.get("/v1/events").status_code == 200
        key_id = next(
            one["id"] for one in admin.get("/v1/keys").json()["keys"] if key.startswith(one["prefix"])
        )
        assert admin.delete(f"/v1/keys/{key_id}").status_code == 200
        within(SECONDS, lambda: reader.get("/v1/events").status_code == 401)
        member = next(
            one["id"]
            for one in admin.get("/v1/members").json()["members"]
            if one["email"].startswith("everywhere")
        )
        assert admin.patch(f"/v1/members/{member}", json={"role": "MEMBER"}).status_code == 200
        within(SECONDS, lambda: there.get("/v1/events").status_code == 403)
        assert admin.delete(f"/v1/members/{member}").status_code == 200
        within(SECONDS, lambda: there.get("/v1/me").status_code == 401)
        assert [reader.get("/v1/events").status_code for _ in range(3)] == [401] * 3


def test_guessing_is_slow_by_address_and_by_prefix() -> None:
    """Who guesses one key from a thousand addresses would be as fast as a thousand."""
    at = [0.0]
    attempts = FailedAttempts(lambda: at[0], burst=5, per_second=1.0)

    def refused(address: str, credential: str) -> bool:
        try:
            attempts.failed(address, credential)
        except Unauthorized as error:
            return error.rule == "attempts"
        return False

    assert [refused(f"10.0.0.{n}", "tst_AbCdEfGhI" + str(n)) for n in range(8)] == [False] * 5 + [True] * 3
    assert [refused("10.1.0.1", f"tst_{n:012d}x") for n in range(8)] == [False] * 5 + [True] * 3
    assert not refused("10.2.0.1", "tst_another_one")
    at[0] += 1.0
    assert not refused("10.3.0.1", "tst_AbCdEfGhI9")

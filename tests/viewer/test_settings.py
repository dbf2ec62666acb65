"""Settings as an owner uses them, without a script: keys, members, roles, workspaces, the organization."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import browser
from server import Server

from .test_verify_page import chromium, house, pytestmark, visit

__all__ = ["chromium", "house", "pytestmark", "visit"]
PAGES = (
    "/settings/keys",
    "/settings/members",
    "/settings/workspaces",
    "/settings/organization",
    "/settings/about",
)


@pytest.fixture
def owner(house: tuple[Server, str]) -> Iterator[httpx2.Client]:
    """A browser's worth of client, signed in as the owner, that follows what forms lead to."""
    server, cookie = house
    with browser(server) as client:
        client.cookies.set("tallystick", cookie)
        client.follow_redirects = True
        yield client


def actions(server: Server) -> list[str]:
    """Return the newest actions of the log of the log."""
    with server.client() as client:
        found = client.get("/v1/events?stream=tallystick&limit=50").json()["events"]
    return [
        one["action"] for one in found if one["action"] not in ("key.used", "events.searched", "event.viewed")
    ]


def test_a_key_is_shown_once_and_ends(owner: httpx2.Client, house: tuple[Server, str]) -> None:
    """A key could not be made or ended by whoever has only a browser, or its secret could be read again."""
    server, _ = house
    made = owner.post(
        "/settings/keys", data={"name": "checkout", "permission": "auditLogs:write", "expires": "30"}
    )
    assert made.status_code == 200
    key = re.search(r"TALLYSTICK_API_KEY=(tst_\w+)", made.text)
    assert key is not None
    with server.client(key[1]) as client:
        assert (
            client.post("/v1/events", json={"action": "a.b", "actor": {"type": "system"}}).status_code == 201
        )
    page = owner.get("/settings/keys").text
    assert key[1] not in page
    found = re.search(r"checkout.*?(key_[0-9a-f]{16})", page, re.DOTALL)
    assert found is not None
    rotated = owner.post(f"/settings/keys/{found[1]}/rotate")
    assert "TALLYSTICK_API_KEY=tst_" in rotated.text
    assert owner.post(f"/settings/keys/{found[1]}/revoke", data={"name": "another"}).status_code == 400
    assert "was revoked" in owner.post(f"/settings/keys/{found[1]}/revoke", data={"name": "checkout"}).text
    assert actions(server)[:3] == ["key.revoked", "key.rotated", "key.created"]


def test_a_mistake_is_said_and_nothing_is_made(owner: httpx2.Client) -> None:
    """A form with a mistake would answer with a stack trace, or make something else than was asked for."""
    for path, fields in {
        "/settings/keys": {"name": "x", "expires": "7"},
        "/settings/members": {"email": "nobody", "role": "OWNER"},
        "/settings/workspaces": {"display_name": ""},
        "/settings/members/roles": {"name": "R"},
    }.items():
        answer = owner.post(path, data=fields)
        assert (answer.status_code, 'role="alert"' in answer.text) == (400, True), path


def test_an_auditor_is_invited_and_leaves(owner: httpx2.Client, house: tuple[Server, str]) -> None:
    """A member could not come in by the link, or would stay in after being removed."""
    server, _ = house
    invited = owner.post("/settings/members", data={"email": "Eve@Example.com", "role": "AUDITOR"})
    link = re.search(r"http://\S+(/sign-in/link/tsl_[\w-]+)", unescape(invited.text))
    assert link is not None
    with browser(server) as eve:
        words = "a sentence nobody guesses"
        form = {"email": "eve@example.com", "name": "Eve", "password": words, "again": words}
        assert eve.post(link[1], data=form).status_code == 303
        assert eve.get("/events", follow_redirects=True).status_code == 200
        refused = eve.get("/settings/keys")
        assert (refused.status_code, "ada@example.com" in refused.text) == (403, True), "it says whom to ask"
        member = re.search(
            r"eve@example\.com.*?(mbr_[0-9a-f]{16})", owner.get("/settings/members").text, re.DOTALL
        )
        assert member is not None
        where = f"/settings/members/{member[1]}"
        owner.post("/settings/workspaces", data={"display_name": "Support", "id": "ws_support"})
        owner.post(f"{where}/workspaces", data={"workspace": "ws_support", "role": "AUDITOR"})
        changed = owner.post(where, data={"display_name": "Eve", "role": "MEMBER", "active": "on"})
        assert "Saved." in changed.text
        assert "ws_support" in changed.text
        assert owner.post(f"{where}/remove", data={"email": "ada@example.com"}).status_code == 400
        assert "was removed" in owner.post(f"{where}/remove", data={"email": "eve@example.com"}).text
        assert eve.get("/account").status_code == 303, "a removed member is still in"
    assert actions(server)[0] == "member.removed"


def test_reading_is_switched_off_and_on(owner: httpx2.Client) -> None:
    """The switch of the page would not be the one that the API and the documented SQL obey."""
    assert "Switch reading on" in owner.post("/settings/organization/reading", data={"on": "no"}).text
    assert owner.get("/events").status_code == 403
    assert "Switch reading off" in owner.post("/settings/organization/reading", data={"on": "yes"}).text
    assert owner.get("/events").status_code == 200


def test_a_role_of_one_s_own(owner: httpx2.Client) -> None:
    """The matrix would show something else than what the role gives."""
    page = owner.post("/settings/members/roles", data={"name": "Holder", "permission": "holds:manage"}).text
    row = re.search(r"<tr><th scope=\"row\"><span class=\"mono\">holds:manage.*?</tr>", page, re.DOTALL)
    assert row is not None
    assert re.findall(r"unseen\">(yes|no)", row[0]) == ["yes", "yes", "no", "no", "no", "yes"]
    role = re.search(r"/settings/members/roles/(rol_\w+)/remove", page)
    assert role is not None
    assert "The role was removed" in owner.post(f"/settings/members/roles/{role[1]}/remove").text


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_fit(visit: Any, path: str) -> None:
    """A page would scroll sideways on a phone, or be unreadable at night."""
    contrast = (Path(__file__).parents[1] / "web" / "contrast.js").read_text()
    for scheme, width in (("light", 360), ("dark", 768), ("dark", 1360)):
        page = visit(path, color_scheme=scheme, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert page.evaluate(contrast) == []


def test_times_are_told_in_one_zone_everywhere(owner: httpx2.Client) -> None:
    """A key's age and an event's time would be an hour apart on two pages of one person."""
    assert "UTC</time>" in owner.get("/settings/keys").text
    chosen = owner.post("/zone", data={"zone": "Asia/Kolkata", "to": "/settings/keys"})
    assert chosen.url.path == "/settings/keys"
    assert "UTC+05:30</time>" in chosen.text
    assert "UTC+05:30" in owner.get("/verify").text
    assert 'data-zone="Asia/Kolkata"' in owner.get("/events?view=all").text
    for wrong in ("Mars/Base", "x" * 200):
        assert owner.post("/zone", data={"zone": wrong, "to": "/"}).status_code == 400
    assert "UTC</time>" in owner.post("/zone", data={"zone": "utc", "to": "/settings/keys"}).text

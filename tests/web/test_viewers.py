"""Delegated reading: a token shows what its filters lock and nothing else, once, from its origins, not for long."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from own_events import end, own_events
from postgres import Database
from server import Server, Servers, event

SHOP, OTHER_SHOP = "https://shop.example.com", "https://evil.example.com"
_numbers = itertools.count()


@dataclass
class Tenants:
    """Two customers of one backend, each with events of its own."""

    server: Server
    backend: httpx2.Client
    one: str
    two: str
    ids: dict[str, list[str]]

    def token(self, filters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Make a token as the backend."""
        wish = {"filters": {"tenant": self.one} if filters is None else filters, "origins": [SHOP], **more}
        made = self.backend.post("/v1/viewer-sessions", json=wish)
        assert made.status_code == 201, made.text
        return made.json()

    def exchange(self, token: str, **headers: str) -> httpx2.Response:
        """Exchange a token as a page does."""
        with self.server.client(token) as client:
            return client.post("/v1/viewer-sessions:exchange", headers={"Origin": SHOP, **headers})

    def viewer(self, filters: dict[str, Any] | None = None, **more: Any) -> httpx2.Client:
        """Return a page's client that has exchanged its token."""
        exchanged = self.exchange(self.token(filters, **more)["token"])
        assert exchanged.status_code == 201, exchanged.text
        client = self.server.client(exchanged.json()["token"])
        client.headers["Origin"] = SHOP
        return client


@pytest.fixture
def tenants(server: Server) -> Iterator[Tenants]:
    """Two customers' events, and the backend's key, which reads and exports and does nothing else."""
    number = next(_numbers)
    one, two = f"tenant-{number}-one", f"tenant-{number}-two"
    ids: dict[str, list[str]] = {one: [], two: []}
    with server.client(server.write_key) as writer:
        for workspace, found in ids.items():
            for actor in ("usr_1", "usr_2"):
                made = event(
                    workspace=workspace, action=f"{workspace}.made", actor={"type": "user", "id": actor, "name": f"of {workspace}"},
                    targets=[{"type": "doc", "id": f"doc-{workspace}"}], occurred_at="2026-11-20T10:00:00Z" if actor == "usr_1" else None,
                )  # fmt: skip
                answer = writer.post("/v1/events", json=made)
                assert answer.status_code == 201, answer.text
                found.append(answer.json()["id"])
    with server.client(server.key("auditLogs:read", "auditLogs:export")) as backend:
        yield Tenants(server, backend, one, two, ids)


def test_nothing_widens_what_is_locked(tenants: Tenants) -> None:
    """One customer of a SaaS would read, count or be told of another's events."""
    viewer = tenants.viewer(permissions=["auditLogs:read", "auditLogs:export"])
    own, foreign = set(tenants.ids[tenants.one]), tenants.ids[tenants.two]
    attempts: list[dict[str, Any]] = [
        {}, {"workspace": tenants.two}, {"workspace": [tenants.one, tenants.two]}, {"projectId": tenants.two},
        {"q": f"workspace:{tenants.two}"}, {"q": f"-workspace:{tenants.one}"}, {"q": f"action:{tenants.two}"},
        {"user": f"of {tenants.two}"}, {"target_id": f"doc-{tenants.two}"}, {"q": f'"doc-{tenants.two}"'}, {"workspace": "-"},
        {"stream": "tallystick"}, {"limit": 1000, "order": "oldest"},
    ]  # fmt: skip
    for params in attempts:
        found = viewer.get("/v1/events", params=params)
        assert found.status_code in (200, 400), (params, found.text)
        if found.status_code == 200:
            assert {one["id"] for one in found.json()["events"]} <= own, params
            count = viewer.get(
                "/v1/events:count", params={k: v for k, v in params.items() if k not in ("limit", "order")}
            )
            assert count.json()["count"] <= len(own), params
            assert (
                tenants.two
                not in found.text + viewer.get("/v1/events:facets", params=count_params(params)).text
            ), params
            assert viewer.get("/v1/events:histogram", params=count_params(params)).status_code == 200
    assert {one["id"] for one in viewer.get("/v1/events").json()["events"]} == own
    for id in foreign:
        missing = viewer.get("/v1/events/00000000-0000-4000-8000-000000000000")
        answer = viewer.get(f"/v1/events/{id}")
        assert answer.status_code == missing.status_code == 404
        assert answer.json()["detail"] == missing.json()["detail"]
    assert (
        viewer.get(f"/v1/events/{tenants.ids[tenants.one][0]}", params={"proof": "true"}).status_code == 200
    )
    exported = viewer.get("/v1/export", params={"format": "ocsf"}).text
    assert tenants.two not in exported
    assert all(id in exported for id in own), exported
    assert tenants.two not in viewer.get("/v1/export").text, "others are bare hashes"
    assert tenants.two not in viewer.get("/v1/feed", params={"limit": 1000}).text


def count_params(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a search that a count takes too."""
    return {key: value for key, value in params.items() if key not in ("limit", "order")}


@pytest.mark.parametrize(
    ("filters", "seen"),
    [
        (lambda t: {"tenant": t.one, "actor": "usr_2"}, 1),
        (lambda t: {"target": f"doc-{t.one}"}, 2),
        (lambda t: {"workspace": [t.one, t.two], "target_type": "doc"}, 4),
        (lambda t: {"tenant": t.one, "to": "2026-11-20T12:00:00Z"}, 1),
        (lambda t: {"tenant": t.one, "from": "2026-11-20T12:00:00Z"}, 1),
        (lambda t: {"tenant": "nobody's"}, 0),
    ],
)
def test_what_can_be_locked(tenants: Tenants, filters: Any, seen: int) -> None:
    """A backend that locks a target or a time would show everything of the tenant."""
    viewer = tenants.viewer(filters(tenants))
    ours = {*tenants.ids[tenants.one], *tenants.ids[tenants.two]}
    found = [
        one["id"]
        for one in viewer.get("/v1/events", params={"from": "2026-01-01", "to": "2099-01-01"}).json()[
            "events"
        ]
    ]
    assert len(found) == seen
    assert set(found) <= ours


def test_it_reads_and_nothing_else(tenants: Tenants) -> None:
    """A customer's browser would hold a key to the whole organization."""
    viewer = tenants.viewer()
    assert viewer.get("/v1/events").status_code == 200
    for method, path in (
        ("GET", "/v1/export"), ("POST", "/v1/events"), ("GET", "/v1/keys"), ("GET", "/v1/members"), ("GET", "/v1/me"),
        ("GET", "/scim/v2/Users"), ("GET", "/v1/log/tile/0/000"), ("GET", "/v1/log/proof/consistency?old=1"),
        ("POST", "/v1/viewer-sessions"), ("GET", "/v1/organization"), ("GET", "/v1/workspaces"),
    ):  # fmt: skip
        answer = viewer.request(
            method, path, json={"filters": {"tenant": tenants.two}} if method == "POST" else None
        )
        assert answer.status_code == 403, (path, answer.status_code, answer.text)


def test_it_works_once(tenants: Tenants) -> None:
    """A token that was read in a log or a history would open the same door again."""
    before = end(tenants.server)
    made = tenants.token()
    assert tenants.exchange(made["token"]).status_code == 201
    again = tenants.exchange(made["token"])
    unknown = tenants.exchange(made["token"][:-1] + ("0" if made["token"][-1] != "0" else "1"))
    assert (again.status_code, again.json()) == (401, unknown.json())
    found = own_events(tenants.server, before)
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("viewer_session.created", "success"), ("viewer_session.started", "success"), ("access.denied", "denied"),
    ]  # fmt: skip
    assert found[0]["after"]["filters"] == {"workspace": [tenants.one]}
    assert found[1]["metadata"] == {"origin": SHOP}
    assert found[2]["error"]["code"] == "used"
    assert made["token"] not in str(found)
    with tenants.server.client(tenants.token()["token"]) as client:
        assert client.get("/v1/events").status_code == 401, "a token is no session"
    assert own_events(tenants.server, before)[-1]["error"]["code"] == "not_exchanged"


def test_origins(tenants: Tenants) -> None:
    """A page of somebody else would use a token it has got hold of, or read the answers."""
    made = tenants.token()
    refused = tenants.exchange(made["token"], Origin=OTHER_SHOP)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert tenants.exchange(made["token"], Origin="null").status_code == 403
    exchanged = tenants.exchange(made["token"])
    assert exchanged.status_code == 201, "a refused origin has not used it up"
    assert exchanged.headers["access-control-allow-origin"] == SHOP
    with tenants.server.client(exchanged.json()["token"]) as viewer:
        seen = viewer.get("/v1/events", headers={"Origin": SHOP})
        assert (seen.status_code, seen.headers["access-control-allow-origin"]) == (200, SHOP)
        assert "Origin" in seen.headers["vary"]
        wrong = viewer.get("/v1/events", params={"nonsense": "1"}, headers={"Origin": SHOP})
        assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (400, SHOP)
        foreign = viewer.get("/v1/events", headers={"Origin": OTHER_SHOP})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers
        assert viewer.get("/v1/events", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert viewer.get("/v1/events", headers={"Origin": tenants.server.url}).status_code == 200, (
            "our own page"
        )
        assert viewer.get("/v1/events", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    with tenants.server.client() as admin:
        assert "access-control-allow-origin" not in admin.get("/v1/events", headers={"Origin": SHOP}).headers


def test_preflight(tenants: Tenants) -> None:
    """A browser would be told that any page may ask, or that the shop's own page may not."""
    tenants.token()
    with tenants.server.client(None) as browser:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        yes = browser.request("OPTIONS", "/v1/events", headers={"Origin": SHOP, **asked})
        assert yes.status_code == 204
        assert yes.headers["access-control-allow-origin"] == SHOP
        assert "authorization" in yes.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in yes.headers
        no = browser.request("OPTIONS", "/v1/events", headers={"Origin": OTHER_SHOP, **asked})
        assert "access-control-allow-origin" not in no.headers
        assert browser.request("OPTIONS", "/v1/events").status_code == 405


def test_revoked_expired_and_orphaned(tenants: Tenants) -> None:
    """A customer who was shut out, or a backend's key that leaked, would read on."""
    made = tenants.token()
    revoked = tenants.server.client(tenants.exchange(made["token"]).json()["token"])
    short = tenants.viewer(expires_in_seconds=10)
    with tenants.server.client() as admin:
        key = admin.post("/v1/keys", json={"name": "backend", "permissions": ["auditLogs:read"]}).json()
        with tenants.server.client(key["key"]) as backend:
            token = backend.post("/v1/viewer-sessions", json={"filters": {"tenant": tenants.one}}).json()[
                "token"
            ]
        orphan = tenants.server.client(tenants.exchange(token, Origin=tenants.server.url).json()["token"])
        assert {one.get("/v1/events").status_code for one in (revoked, short, orphan)} == {200}
        listed = tenants.backend.get("/v1/viewer-sessions").json()["viewer_sessions"]
        assert made["id"] in {one["id"] for one in listed}
        assert token not in str(listed)
        assert made["token"] not in str(listed)
        with tenants.server.client(tenants.server.key("read")) as other:
            assert other.delete(f"/v1/viewer-sessions/{made['id']}").status_code == 404, "another key's"
            assert made["id"] not in other.get("/v1/viewer-sessions").text
        assert tenants.backend.delete(f"/v1/viewer-sessions/{made['id']}").status_code == 200
        assert admin.delete(f"/v1/keys/{key['id']}").status_code == 200
    assert revoked.get("/v1/events").status_code == 401, "at once on the server that was asked"
    deadline = time.monotonic() + 12
    while {one.get("/v1/events").status_code for one in (short, orphan)} != {401}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_on_another_server(servers: Servers, database: Database) -> None:
    """A revoked viewer would read on through the server next door."""
    first = servers.start("one", database=database.logins.owner)
    second = servers.start(
        "one", database=database.logins.owner
    )  # the same keys and signer, as two servers of one installation have
    with first.client(first.key("read")) as backend:
        made = backend.post("/v1/viewer-sessions", json={"filters": {"tenant": "t"}}).json()
        with first.client(made["token"]) as page:
            token = page.post("/v1/viewer-sessions:exchange").json()["token"]
        with second.client(token) as viewer:
            assert viewer.get("/v1/events").status_code == 200
            assert backend.delete(f"/v1/viewer-sessions/{made['id']}").status_code == 200
            time.sleep(5)
            assert viewer.get("/v1/events").status_code == 401
    with second.client(made["token"]) as page:
        assert page.post("/v1/viewer-sessions:exchange").status_code == 401


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"filters": {}}, "/filters"),
        ({"filters": {"from": "2026-01-01"}}, "/filters"),
        ({"filters": {"user": "ada"}}, "/filters"),
        ({"filters": {"q": "x"}}, "/filters"),
        ({"filters": {"tenant": []}}, "/filters/workspace"),
        ({"filters": {"tenant": ["x"] * 101}}, "/filters/workspace"),
        ({"filters": {"tenant": ""}}, "/workspace"),
        ({"filters": {"tenant": "t"}, "origins": ["*"]}, "/origins/0"),
        ({"filters": {"tenant": "t"}, "origins": ["https://a.example/path"]}, "/origins/0"),
        ({"filters": {"tenant": "t"}, "origins": ["http://a.example"]}, "/origins/0"),
        ({"filters": {"tenant": "t"}, "origins": ["https://A.example"]}, "/origins/0"),
        ({"filters": {"tenant": "t"}, "origins": ["https://a.example\r\nX: y"]}, "/origins/0"),
        ({"filters": {"tenant": "t"}, "origins": ["https://a.example"] * 21}, "/origins"),
        ({"filters": {"tenant": "t"}, "expires_in_seconds": 3601}, "/expires_in_seconds"),
        ({"filters": {"tenant": "t"}, "expires_in_seconds": 1}, "/expires_in_seconds"),
        ({"filters": {"tenant": "t"}, "permissions": ["organization:manage"]}, "/permissions"),
        ({"filters": {"tenant": "t"}, "permissions": ["auditLogs:write"]}, "/permissions"),
        ({"filters": {"tenant": "t"}, "more": 1}, None),
    ],
)
def test_wishes_that_cannot_be(tenants: Tenants, wish: dict[str, Any], path: str | None) -> None:
    """A slip of the backend's author would make a token that shows more than was meant."""
    answer = tenants.backend.post("/v1/viewer-sessions", json=wish)
    assert answer.status_code == 400, answer.text
    assert path is None or answer.json()["path"] == path, answer.text


def test_no_more_than_its_maker_sees(tenants: Tenants) -> None:
    """A key bound to one workspace would make itself a token for another."""
    bound = tenants.server.client(tenants.server.key("auditLogs:read", workspace=tenants.one))
    ask = "/v1/viewer-sessions"
    assert bound.post(ask, json={"filters": {"tenant": tenants.two}}).status_code == 403
    assert bound.post(ask, json={"filters": {"tenant": [tenants.one, tenants.two]}}).status_code == 403
    more = bound.post(ask, json={"filters": {"tenant": tenants.one}, "permissions": ["auditLogs:export"]})
    assert more.status_code == 403
    token = bound.post(ask, json={"filters": {"target_type": "doc"}}).json()["token"]
    session = tenants.exchange(token, Origin=tenants.server.url).json()["token"]
    with tenants.server.client(session) as viewer:
        assert {one["id"] for one in viewer.get("/v1/events").json()["events"]} == set(
            tenants.ids[tenants.one]
        )
    with tenants.server.client(tenants.server.write_key) as writer:
        assert writer.post(ask, json={"filters": {"tenant": tenants.one}}).status_code == 403


def test_a_viewer_is_on_record(tenants: Tenants) -> None:
    """What a customer looked at would be the only reading that leaves no trace."""
    viewer = tenants.viewer(name="customer 7")
    before = end(tenants.server)
    for _ in range(3):
        assert viewer.get("/v1/events", params={"outcome": "success"}).status_code == 200
    assert viewer.get(f"/v1/events/{tenants.ids[tenants.one][0]}").status_code == 200
    found = own_events(tenants.server, before)
    assert [one["action"] for one in found] == ["events.searched", "event.viewed"]
    assert {one["actor"]["name"] for one in found} == {"customer 7"}

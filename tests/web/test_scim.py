"""SCIM 2.0: a strangers' checker, a strangers' client, and the sequences that Entra and Okta send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from own_events import end, own_events
from people import PASSWORD, browser, set_password, sign_in
from server import Server, Servers

scim2_tester = pytest.importorskip("scim2_tester", reason="scim2-tester is not installed")
from scim2_client.engines.httpx2 import SyncSCIMClient  # noqa: E402
from scim2_models import ScimProvider  # noqa: E402
from scim2_tester import Status, check_server  # noqa: E402

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


@pytest.fixture
def scim(server: Server) -> Iterator[httpx2.Client]:
    """A directory's client with the key it should have: it manages members and nothing else."""
    with server.client(server.key("members:manage")) as client:
        client.headers["Content-Type"] = "application/scim+json"
        client.base_url = f"{server.url}/scim/v2/"
        yield client


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a PATCH."""
    return {"schemas": [PATCH], "Operations": list(operations)}


def unique(name: str) -> str:
    """Return an address that nobody else uses."""
    return f"{name}.{time.monotonic_ns()}@example.com"


def create(scim: httpx2.Client, user_name: str = "", **more: Any) -> dict[str, Any]:
    """Create a user and return it."""
    made = scim.post("Users", json={"schemas": [USER], "userName": user_name or unique("ada"), **more})
    assert made.status_code == 201, made.text
    assert made.headers["content-type"] == "application/scim+json"
    return made.json()


def test_a_strangers_checker_finds_nothing(server: Server) -> None:
    """A directory's own test of the connection would fail at something the specification asks for."""
    with httpx2.Client(
        base_url=f"{server.url}/scim/v2",
        headers={"Authorization": f"Bearer {server.key('members:manage')}"},
        timeout=30,
    ) as client:
        results = check_server(SyncSCIMClient(client, provider=ScimProvider()))
    wrong = [f"{one.status.name} {one.title}: {one.reason}" for one in results
             if one.status not in (Status.SUCCESS, Status.SKIPPED, Status.ACCEPTABLE)]  # fmt: skip
    assert not wrong, "\n".join(wrong)
    assert len([one for one in results if one.status is Status.SUCCESS]) > 60


def test_entra_brings_in_changes_and_shuts_out(server: Server, scim: httpx2.Client) -> None:
    """The requests of Entra's provisioning, in its spelling, would be refused or do something else."""
    name, before = unique("bob"), end(server)
    asked = scim.get("Users", params={"filter": f'userName eq "{name}"'})
    assert asked.status_code == 200, asked.text
    assert (asked.json()["totalResults"], asked.json().get("Resources", [])) == (0, [])
    made = scim.post("Users", json={
        "schemas": [USER, ENTERPRISE], "externalId": "0a21f0f2", "userName": name, "active": True,
        "addresses": None, "displayName": "Bob Tester", "emails": [{"primary": True, "type": "work", "value": name}],
        "meta": {"resourceType": "User"},
        "name": {"familyName": "Tester", "givenName": "Bob", "formatted": "Bob Tester"},
        "phoneNumbers": None, "preferredLanguage": None, "title": "Engineer", "roles": [],
        ENTERPRISE: {"department": "R&D", "manager": None},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    user = made.json()
    assert made.headers["location"] == user["meta"]["location"] == f"{server.url}/scim/v2/Users/{user['id']}"
    assert made.headers["etag"] == user["meta"]["version"]
    # Entra's own query for whom it has made.
    again = scim.get("Users", params={"filter": f'userName eq "{name.upper()}"'}).json()
    assert [one["id"] for one in again["Resources"]] == [user["id"]]
    assert scim.get("Users", params={"filter": 'externalId eq "0a21f0f2"'}).json()["totalResults"] == 1
    changed = scim.patch(f"Users/{user['id']}", json=patch(
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": f"new.{name}"},
        {"op": "Replace", "path": "name.familyName", "value": "Newname"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Sales"},
    ))  # fmt: skip
    assert changed.status_code == 200, changed.text
    assert changed.json()["emails"] == [{"value": f"new.{name}", "type": "work", "primary": True}]
    off = scim.patch(f"Users/{user['id']}", json=patch({"op": "Replace", "path": "active", "value": "False"}))
    assert off.status_code == 200, off.text
    assert off.json()["active"] is False
    gone = scim.delete(f"Users/{user['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert scim.get(f"Users/{user['id']}").status_code == 404
    found = own_events(server, before)
    assert [one["action"] for one in found] == [
        "member.added", "member.updated", "member.deactivated", "member.removed",
    ]  # fmt: skip
    assert found[0]["after"]["email"] == name
    assert (found[1]["before"]["email"], found[1]["after"]["email"]) == (name, f"new.{name}")
    assert (found[2]["before"], found[2]["after"]) == ({"active": True}, {"active": False})
    assert {one["targets"][0]["id"] for one in found} == {user["id"]}
    assert {one["actor"]["type"] for one in found} == {"api_key"}
    assert all(one["context"]["ip"] == "127.0.0.1" and one["metadata"] == {"by": "scim"} for one in found)


def test_okta_brings_in_and_shuts_out(scim: httpx2.Client) -> None:
    """The requests of Okta's provisioning would be refused, so that leavers keep their access."""
    name = unique("carol")
    listed = scim.get(
        "Users", params={"filter": f'userName eq "{name}"', "startIndex": 1, "count": 100}
    ).json()
    assert listed["totalResults"] == 0
    user = create(
        scim, name, name={"givenName": "Carol", "familyName": "Okta"}, locale="en-US", groups=[], active=True,
        emails=[{"primary": True, "value": name, "type": "work"}], displayName="Carol Okta", externalId="00ujl29u0le5T6Aj10h7",
        password="1mz050nq",
    )  # fmt: skip
    assert "password" not in user
    put = scim.put(
        f"Users/{user['id']}", json={**user, "name": {"givenName": "Caroline", "familyName": "Okta"}}
    )
    assert put.status_code == 200, put.text
    assert put.json()["name"]["givenName"] == "Caroline"
    off = scim.patch(f"Users/{user['id']}", json=patch({"op": "replace", "value": {"active": False}}))
    assert off.status_code == 200, off.text
    assert off.json()["active"] is False
    on = scim.put(f"Users/{user['id']}", json={**off.json(), "active": True})
    assert on.json()["active"] is True


def test_groups_in_both_spellings(server: Server, scim: httpx2.Client) -> None:
    """A group's members would be lost, or stay, when a directory adds and removes them its own way."""
    ada, bob, eve = (create(scim, unique(name))["id"] for name in ("ada", "bob", "eve"))
    before = end(server)
    title = f"Auditors {time.monotonic_ns()}"
    made = scim.post(
        "Groups", json={"schemas": [GROUP], "displayName": title, "externalId": "g1", "members": []}
    )
    assert made.status_code == 201, made.text
    group = made.json()["id"]
    # Entra asks without the members, which may be many.
    bare = scim.get(
        "Groups", params={"excludedAttributes": "members", "filter": f'displayName eq "{title}"'}
    ).json()
    assert [one["id"] for one in bare["Resources"]] == [group]
    assert "members" not in bare["Resources"][0]
    entra = [
        {"op": "Add", "path": "members", "value": [{"value": ada}, {"value": bob}]},
        {"op": "Remove", "path": "members", "value": [{"value": bob}]},
    ]
    assert _members(scim.patch(f"Groups/{group}", json=patch(entra[0]))) == {ada, bob}
    assert _members(scim.patch(f"Groups/{group}", json=patch(entra[1]))) == {ada}
    okta = [
        {"op": "add", "path": "members", "value": [{"value": eve, "display": "Eve"}]},
        {"op": "remove", "path": f'members[value eq "{ada}"]'},
        {"op": "replace", "value": {"id": group, "displayName": f"{title} 2"}},
    ]
    assert _members(scim.patch(f"Groups/{group}", json=patch(okta[0]))) == {ada, eve}
    assert _members(scim.patch(f"Groups/{group}", json=patch(okta[1]))) == {eve}
    renamed = scim.patch(f"Groups/{group}", json=patch(okta[2]))
    assert renamed.json()["displayName"] == f"{title} 2"
    assert scim.get(f"Users/{eve}").json()["groups"][0]["value"] == group
    asked = scim.get("Groups", params={"filter": f'id eq "{group}" and members eq "{eve}"'}).json()
    assert asked["totalResults"] == 1
    assert (
        scim.get("Groups", params={"filter": f'id eq "{group}" and members eq "{ada}"'}).json()[
            "totalResults"
        ]
        == 0
    )
    assert _members(
        scim.put(
            f"Groups/{group}", json={"schemas": [GROUP], "displayName": title, "members": [{"value": bob}]}
        )
    ) == {bob}
    unknown = scim.patch(
        f"Groups/{group}", json=patch({"op": "add", "path": "members", "value": [{"value": "mbr_no"}]})
    )
    assert (unknown.status_code, unknown.json()["scimType"]) == (400, "invalidValue")
    assert scim.delete(f"Groups/{group}").status_code == 204
    assert scim.get(f"Users/{bob}").json().get("groups") is None
    found = [one for one in own_events(server, before) if one["action"] != "change.refused"]
    assert [one["action"] for one in found] == [
        "group.created", *["group.members_changed"] * 4, "group.updated", "group.members_changed", "group.removed",
    ]  # fmt: skip
    assert found[2]["before"]["left"] == {"members": [bob], "number": 1}


def _members(answer: httpx2.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {one["value"] for one in answer.json().get("members", [])}


def test_nothing_changed_is_no_event(server: Server, scim: httpx2.Client) -> None:
    """A directory that says the same every forty minutes would fill the log."""
    user = create(scim, active=True)
    before = end(server)
    for _ in range(3):
        same = scim.patch(
            f"Users/{user['id']}", json=patch({"op": "replace", "path": "active", "value": True})
        )
        assert same.status_code == 200
        assert scim.put(f"Users/{user['id']}", json=user).status_code == 200
    assert own_events(server, before) == []


def test_pages_and_filters(scim: httpx2.Client) -> None:
    """A directory with more members than a page would see some of them twice and others never."""
    made = {create(scim)["id"] for _ in range(7)}
    seen: list[str] = []
    start, total = 1, 1
    while start <= total:
        page = scim.get("Users", params={"startIndex": start, "count": 3}).json()
        assert page["startIndex"] == start
        assert page["itemsPerPage"] == len(page["Resources"]) <= 3
        seen += [one["id"] for one in page["Resources"]]
        start, total = start + 3, page["totalResults"]
    assert len(seen) == len(set(seen)) == total
    assert made <= set(seen)
    assert scim.get("Users", params={"count": 0}).json().get("Resources", []) == []
    assert len(scim.get("Users", params={"count": 10**6}).json()["Resources"]) <= 200
    odd = create(scim, emails=[{"value": "odd@example.org", "type": "home"}], displayName="Odd One")
    for text in (
        'emails.value eq "ODD@example.org"', 'emails[type eq "home" and value sw "odd"]', 'displayName co "dd on"',
        f'id eq "{odd["id"]}"', f'userName pr and not (id ne "{odd["id"]}")',
    ):  # fmt: skip
        found = scim.get("Users", params={"filter": text}).json()
        assert [one["id"] for one in found["Resources"]] == [odd["id"]], text
    only = scim.get(f"Users/{odd['id']}", params={"attributes": "userName"}).json()
    assert set(only) == {"schemas", "id", "userName"}
    for text in ("userName", "userName eq", 'nothing eq "x"', 'userName eq "x', "(" * 3000):
        refused = scim.get("Users", params={"filter": text})
        assert refused.status_code == 400, text
        assert refused.json()["scimType"] == "invalidFilter", refused.text


def test_versions(scim: httpx2.Client) -> None:
    """Two directories, or two of its workers, would undo each other's changes unseen."""
    user = create(scim)
    place = f"Users/{user['id']}"
    tag = user["meta"]["version"]
    assert scim.get(place, headers={"If-None-Match": tag}).status_code == 304
    first = scim.patch(
        place, json=patch({"op": "replace", "path": "displayName", "value": "One"}), headers={"If-Match": tag}
    )
    assert first.status_code == 200, first.text
    assert first.headers["etag"] != tag
    second = scim.patch(
        place, json=patch({"op": "replace", "path": "displayName", "value": "Two"}), headers={"If-Match": tag}
    )
    assert (second.status_code, second.json()["status"]) == (412, "412")
    assert scim.delete(place, headers={"If-Match": tag}).status_code == 412
    assert scim.get(place).json()["displayName"] == "One"
    assert scim.delete(place, headers={"If-Match": first.headers["etag"]}).status_code == 204


def test_changes_at_once_are_all_done(scim: httpx2.Client) -> None:
    """A directory that adds twenty people to a group at once would lose some of them."""
    people = [create(scim)["id"] for _ in range(8)]
    group = scim.post("Groups", json={"schemas": [GROUP], "displayName": unique("at once")}).json()["id"]

    def join(id: str) -> int:
        body = patch({"op": "add", "path": "members", "value": [{"value": id}]})
        for _ in range(20):
            answer = scim.patch(f"Groups/{group}", json=body)
            if answer.status_code != 503:
                return answer.status_code
            time.sleep(0.05)
        return 503

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(join, people)) == {200}
    assert _members(scim.get(f"Groups/{group}")) == set(people)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "Users/mbr_unknown", None, 404, None),
        ("GET", "Nothing", None, 404, None),
        ("POST", "Users", {"schemas": [USER]}, 400, "invalidValue"),
        ("POST", "Users", {"schemas": [USER], "userName": ""}, 400, "invalidValue"),
        ("POST", "Users", {"schemas": [USER], "userName": "a\u0000b"}, 400, "invalidValue"),
        ("POST", "Users", {"schemas": [USER], "userName": "x" * 300}, 400, "invalidValue"),
        ("POST", "Users", {"schemas": [USER], "userName": ["a"]}, 400, "invalidValue"),
        ("POST", "Users", [], 400, "invalidSyntax"),
        ("PATCH", "Users/mbr_unknown", {"schemas": [PATCH], "Operations": []}, 404, None),
        ("POST", "Groups", {"schemas": [GROUP], "displayName": "x", "members": [{"value": "mbr_x"}]}, 400, "invalidValue"),
    ],
)  # fmt: skip
def test_refusals_in_scims_words(
    scim: httpx2.Client, method: str, path: str, body: Any, status: int, kind: str | None
) -> None:
    """A directory would show its administrator a page of JSON instead of the reason."""
    answer = scim.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if path == "Nothing":
        return
    assert answer.headers["content-type"] == "application/scim+json"
    found = answer.json()
    assert found["schemas"] == [ERROR]
    assert found["status"] == str(status)
    assert found["detail"]
    assert found.get("scimType") == kind, found


def test_who_is_there_already(scim: httpx2.Client) -> None:
    """One person would become two members, or somebody would take another's address."""
    name = unique("dora")
    dora = create(scim, name)
    for body in ({"userName": name.upper()}, {"userName": unique("other"), "emails": [{"value": name}]}):
        again = scim.post("Users", json={"schemas": [USER], **body})
        assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness"), again.text
    fay = create(scim)
    taken = scim.patch(f"Users/{fay['id']}", json=patch({"op": "replace", "path": "userName", "value": name}))
    assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")
    assert scim.delete(f"Users/{dora['id']}").status_code == 204
    assert create(scim, name)["id"] != dora["id"], "who comes back is somebody new"


def test_who_may(server: Server) -> None:
    """Whoever reads the log could bring in people, or a directory's key could read the log."""
    with server.client(server.key("read", "write", "keys:manage")) as client:
        for path in ("Users", "Groups", "ServiceProviderConfig", "Schemas", "ResourceTypes"):
            answer = client.get(f"/scim/v2/{path}")
            assert answer.status_code == 403, path
            assert answer.json()["schemas"] == [ERROR]
    with server.client(None) as client:
        refused = client.get("/scim/v2/Users")
        assert (refused.status_code, refused.json()["status"]) == (401, "401")
        assert "www-authenticate" in refused.headers
    with server.client(server.key("members:manage")) as client:
        assert client.get("/v1/events").status_code == 403


def test_who_leaves_is_out_within_five_seconds_everywhere(servers: Servers, database: Any) -> None:
    """Somebody who has left the company would read on in the browser that is still open."""
    first = servers.start("one", database=database.logins.owner)
    second = servers.start("one", database=database.logins.owner)
    sign_in(first)
    scim = first.client(first.key("members:manage"))
    scim.base_url = f"{first.url}/scim/v2/"
    name = unique("leaver")
    user = create(scim, name, displayName="Leaver")["id"]
    group = scim.post(
        "Groups", json={"schemas": [GROUP], "displayName": "Readers", "members": [{"value": user}]}
    ).json()["id"]
    set_password(first, name, PASSWORD)
    here, there = sign_in(first, name), browser(second)
    there.cookies.update(here.cookies)
    assert {one.get("/v1/events").status_code for one in (here, there)} == {403}, (
        "a directory brings in, it gives no role"
    )
    with first.client() as admin:
        mapped = admin.patch(f"/v1/groups/{group}", json={"role": "AUDITOR"})
        assert (mapped.status_code, mapped.json()["role"]) == (200, "AUDITOR"), mapped.text
    _until({200}, here, there)
    off = scim.patch(f"Users/{user}", json=patch({"op": "Replace", "path": "active", "value": "False"}))
    assert off.status_code == 200, off.text
    _until({401}, here, there)
    again = scim.patch(f"Users/{user}", json=patch({"op": "Replace", "path": "active", "value": "True"}))
    assert again.json()["active"] is True
    assert {one.get("/v1/events").status_code for one in (here, there)} == {401}, (
        "the old sessions stay ended"
    )
    back = sign_in(second, name)
    assert back.get("/v1/events").status_code == 200
    left = scim.patch(f"Groups/{group}", json=patch({"op": "remove", "path": f'members[value eq "{user}"]'}))
    assert left.status_code == 200, left.text
    _until({403}, back)


def _until(statuses: set[int], *readers: httpx2.Client) -> None:
    """Wait until all readers get an answer of these, for five seconds at most."""
    deadline = time.monotonic() + 5
    while {one.get("/v1/events").status_code for one in readers} != statuses:
        assert time.monotonic() < deadline, [one.get("/v1/events").status_code for one in readers]
        time.sleep(0.1)


def test_the_last_owner_stays(servers: Servers, database: Any) -> None:
    """A directory's slip would leave an organization that nobody can manage."""
    server = servers.start(database=database.logins.owner)
    sign_in(server)
    scim = server.client(server.key("members:manage"))
    scim.base_url = f"{server.url}/scim/v2/"
    asked = scim.get("Users", params={"filter": 'userName eq "Ada@example.com"'})
    assert asked.json().get("totalResults") == 1, asked.text
    (owner,) = asked.json()["Resources"]
    assert (owner["displayName"], owner["active"]) == ("Ada Lovelace", True), (
        "who came in another way is there too"
    )
    before = end(server)
    place = f"Users/{owner['id']}"
    for answer in (
        scim.delete(place),
        scim.patch(place, json=patch({"op": "replace", "path": "active", "value": False})),
        scim.put(place, json={**owner, "active": False}),
    ):
        assert answer.status_code == 403, answer.text
        assert "last OWNER" in answer.json()["detail"]
    moved = scim.patch(
        place,
        json=patch({"op": "replace", "path": 'emails[type eq "work"].value', "value": "eve@example.org"}),
    )
    assert moved.status_code == 403, "whoever reads the owner's mail could take the owner's place"
    assert scim.get(place).json()["active"] is True
    assert {one["action"] for one in own_events(server, before)} == {"change.refused", "access.denied"}
    with server.client() as admin:
        second = admin.post("/v1/members", json={"email": "bob@example.com", "role": "OWNER"})
        assert second.status_code == 201
    assert (
        scim.patch(
            f"Users/{second.json()['member']['id']}",
            json=patch({"op": "replace", "path": "active", "value": False}),
        ).status_code
        == 200
    )


def test_roles_of_groups(server: Server, scim: httpx2.Client) -> None:
    """Whoever keeps the directory would make themselves an owner."""
    group = scim.post("Groups", json={"schemas": [GROUP], "displayName": unique("g")}).json()["id"]
    with server.client(server.key("members:manage")) as manager:
        assert group in {one["id"] for one in manager.get("/v1/groups").json()["groups"]}
        for role in ("OWNER", "ADMIN", "AUDITOR"):
            assert manager.patch(f"/v1/groups/{group}", json={"role": role}).status_code == 403
        assert manager.patch(f"/v1/groups/{group}", json={"role": "VIEWER"}).status_code == 200
    with server.client() as admin:
        before = end(server)
        for wish, status in (
            ({"role": "AUDITOR"}, 200), ({"role": "NOBODY"}, 400), ({"role": "AUDITOR", "workspace": "none"}, 400),
            ({"role": None, "workspace": "x"}, 400), ({"workspace": "x"}, 400), ({"role": None}, 200),
        ):  # fmt: skip
            assert admin.patch(f"/v1/groups/{group}", json=wish).status_code == status, wish
        assert admin.patch("/v1/groups/grp_none", json={"role": None}).status_code == 404
    found = [one for one in own_events(server, before) if one["action"] == "group.role_changed"]
    assert [(one["before"]["role"], one["after"]["role"]) for one in found] == [
        ("VIEWER", "AUDITOR"),
        ("AUDITOR", None),
    ]

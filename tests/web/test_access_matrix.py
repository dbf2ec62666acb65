"""Every operation, every kind of caller, every context: who gets what, and that nothing of others shows."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access_world import NARROW, ROLES, World, cells, comparable
from postgres import Cluster, fresh_database
from server import Servers, server_folder
from tallystick.services.permissions import ANYONE, MANAGE, MEANING
from tallystick.services.permissions import ROLES as BUILT_IN
from tallystick.web.app import OPERATIONS
from tallystick.web.openapi import document

MATRIX: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "access_matrix.toml").read_text())
CELLS = list(cells(MATRIX))
# What callers hold on the organization; those of a part of it hold theirs there.
HELD: dict[str, frozenset[str]] = {
    **{name.lower(): held for name, held in BUILT_IN.items()},
    "workspace_auditor": frozenset({"auditLogs:read", "auditLogs:export"}), "key_manager": frozenset({"keys:manage"}),
    "admin_key": frozenset({MANAGE}), "read_key": frozenset({"auditLogs:read", "auditLogs:export"}),
    "write_key": frozenset({"auditLogs:write"}), "operator_key": frozenset({MANAGE}),
    "workspace_key": frozenset({"auditLogs:read", "auditLogs:export", "auditLogs:write"}),
    "viewer_token": frozenset({"auditLogs:read"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(postgres_cluster: Cluster, template_database: str) -> Iterator[World]:
    """The twins on a server whose database roles are the real ones, so that policies hold too."""
    for database in fresh_database(postgres_cluster, template_database):
        running, logins = Servers(server_folder()), database.logins
        try:
            server = running.start(
                database=logins.owner,
                environment={
                    "TALLYSTICK_DATABASE_WRITER_URL": logins.writer.url,
                    "TALLYSTICK_DATABASE_READER_URL": logins.reader.url,
                    "TALLYSTICK_DATABASE_KEEPER_URL": logins.keeper.url,
                },
            )
            yield World(server, logins.owner.url)
        finally:
            running.stop()


def operation_of(name: str) -> str:
    """Return the operation a row asks."""
    return MATRIX[name].get("operation", name)


def test_no_operation_is_missing() -> None:
    """A new endpoint would be merged that nobody has thought of whom it answers."""
    assert {operation_of(name) for name in MATRIX} == {one.name for one in OPERATIONS}
    for name, row in MATRIX.items():
        method, _, target = row["request"].partition(" ")
        one = next(one for one in OPERATIONS if one.name == operation_of(name))
        assert one.method == method, name
        assert target.split("?")[0].count("/") >= one.path.count("/"), name
        if "{" in one.path and "<" in target:
            assert {"own", "other_organization", "unknown"} <= set(row), f"{name} names a thing by its id"


def test_every_operation_says_what_it_needs() -> None:
    """The published description would not say which permission an endpoint needs."""
    known = {*MEANING, ANYONE, "public"}
    for path, methods in document(OPERATIONS)["paths"].items():
        for method, described in methods.items():
            assert described.get("x-permission") in known, f"{method} {path}"
            assert (described["x-permission"] == "public") == (described["security"] == []), (
                f"{method} {path}"
            )


def test_the_matrix_agrees_with_what_is_declared() -> None:
    """A status would be written down that the declared permission does not explain."""
    for name, role, context, status in CELLS:
        permission = next(one.permission for one in OPERATIONS if one.name == operation_of(name))
        if permission is None:
            continue
        if role == "anonymous":
            assert status == 401, (name, role, context)
        elif permission == ANYONE:
            assert (status == 403) == (role == "viewer_token"), (name, role, context)
        elif permission not in HELD[role] and MANAGE not in HELD[role]:
            assert status == 403, (name, role, context)


@pytest.mark.parametrize(
    ("name", "role", "context", "status"), CELLS, ids=["-".join(cell[:3]) for cell in CELLS]
)
def test_cell(world: World, name: str, role: str, context: str, status: int) -> None:
    """Somebody would read, change or learn of what is not theirs, or be kept from what is."""
    asked = world.ask(MATRIX[name], role, context)
    assert asked is not None, "the world has no such thing"
    answer, ids = asked
    assert answer.status_code == status, answer.text
    assert world.leaks(role, answer.text) == []
    if context == "other_organization" or (context == "other_workspace" and role in NARROW):
        unknown = world.unknown(name, MATRIX[name], role)
        assert comparable(answer, ids) == unknown, "a foreign id can be told from one that nobody has"


def test_the_canaries_are_there(world: World) -> None:
    """The search for canaries would find none because nobody put any in."""
    everything = world.callers["owner"].get("/v1/events", params={"limit": 1000, "order": "oldest"}).text
    for place in ("one", "two", "level"):
        assert world.first.canary(place) in everything
        assert (
            world.second.canary(place)
            in world.second.client.get("/v1/events", params={"limit": 1000, "order": "oldest"}).text
        )
    for role in sorted(NARROW):
        assert world.first.canary("one") in world.callers[role].get("/v1/events").text, role


@pytest.mark.parametrize("role", sorted(NARROW))
def test_numbers_are_of_what_is_seen(world: World, role: str) -> None:
    """A count, a histogram or a facet would tell of events in workspaces that are not the reader's."""
    client, own = world.callers[role], world.first.things["workspace"]["own"]
    counted = client.get("/v1/events:count").json()["count"]
    wanted = world.callers["owner"].get("/v1/events:count", params={"workspace": own}).json()["count"]
    assert counted == wanted > 0
    assert client.get("/v1/events:count", params={"workspace": "-"}).json()["count"] == 0
    buckets = client.get("/v1/events:histogram").json()["buckets"]
    assert (
        sum(sum(v for k, v in one.items() if k in ("success", "other")) for one in buckets) in (counted, 0)
        or buckets
    )
    facets = client.get("/v1/events:facets").json()["facets"]
    assert [one["value"] for one in facets["workspace"]] == [own]
    assert sum(one["count"] for one in facets["outcome"]) == counted


@pytest.mark.parametrize("role", sorted(NARROW))
def test_a_live_stream_shows_what_is_seen(world: World, role: str) -> None:
    """Following the log live would show what a search hides."""
    headers = {"Accept": "text/event-stream"}
    seen = ""
    with world.callers[role].stream("GET", "/v1/feed?after=-1", headers=headers) as stream:
        assert stream.status_code == 200
        for piece in stream.iter_text():
            seen += piece
            if world.first.canary("one") in seen:
                break
    assert world.leaks(role, seen) == []


def test_an_operator_names_the_organization(world: World) -> None:
    """An operator's key would work for an organization that nobody named, or for one that does not exist."""
    client, url = world.callers["operator_key"], "/v1/me"
    for organization, status in ((None, 400), ("nonsense", 400), (str(world.first.organization_id)[:-1] + "x", 400),
                                 ("00000000-0000-4000-8000-000000000000", 404)):  # fmt: skip
        headers = {"X-Organization-Id": organization or ""}
        assert client.get(url, headers=headers).status_code == status, organization
    there = client.get(url, headers={"X-Organization-Id": world.second.organization_id}).json()
    assert (there["organization_id"], there["kind"]) == (world.second.organization_id, "operator")
    # Anybody else's header says nothing: the organization is that of the credential.
    other = (
        world.callers["admin_key"]
        .get(url, headers={"X-Organization-Id": world.second.organization_id})
        .json()
    )
    assert other["organization_id"] == world.first.organization_id


def test_the_owner_sees_what_was_denied(world: World) -> None:
    """A denied attempt would be recorded and hidden, or not recorded."""
    assert world.callers["member"].get("/v1/events").status_code == 403
    found = (
        world.callers["owner"]
        .get("/v1/events", params={"action": "access.denied", "limit": 1000})
        .json()["events"]
    )
    assert any(one["actor"].get("email") == "member@ada.example" for one in found), json.dumps(found)[:500]
    assert all(role in ROLES for role in HELD)

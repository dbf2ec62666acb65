"""The server behind PgBouncer in transaction mode: what each caller gets is what the matrix says, and nothing of others."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from access_world import NARROW, ROLES, World, cells, comparable
from pooler import pgbouncer, real_pgbouncer
from postgres import Cluster, fresh_database
from server import Servers, server_folder

MATRIX: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "access_matrix.toml").read_text())
READERS = ("auditor", "workspace_auditor", "workspace_key", "operator_key", "viewer_token")
pytestmark = pytest.mark.skipif(pgbouncer() is None, reason="PgBouncer is not installed here")


@pytest.fixture(scope="module")
def world(postgres_cluster: Cluster, template_database: str) -> Iterator[World]:
    """The twins, on a server that reaches each role of its database through a PgBouncer with three connections."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    for database in fresh_database(postgres_cluster, template_database):
        running, logins = Servers(server_folder()), database.logins
        try:
            behind = [
                loop.run_until_complete(
                    stack.enter_async_context(real_pgbouncer(login, postgres_cluster.server.sockets))
                )
                for login in (logins.owner, logins.writer, logins.reader, logins.keeper)
            ]
            server = running.start(
                database=behind[0],
                environment={
                    "TALLYSTICK_DATABASE_WRITER_URL": behind[1].url,
                    "TALLYSTICK_DATABASE_READER_URL": behind[2].url,
                    "TALLYSTICK_DATABASE_KEEPER_URL": behind[3].url,
                    "TALLYSTICK_DATABASE_POOLER": "transaction",
                },
            )
            yield World(server, logins.owner.url)
        finally:
            running.stop()
            loop.run_until_complete(stack.aclose())
            loop.close()


@pytest.mark.parametrize("role", READERS)
def test_readers_get_what_is_theirs(world: World, role: str) -> None:
    """A setting that stays behind in a pooled session, or gets lost, would show others' rows or none at all."""
    asked = 0
    for name, whose, context, status in cells(MATRIX):
        if whose != role or not MATRIX[name]["request"].startswith("GET"):
            continue
        found = world.ask(MATRIX[name], role, context)
        assert found is not None, name
        answer, ids = found
        assert answer.status_code == status, f"{name} {context}: {answer.text}"
        assert world.leaks(role, answer.text) == [], f"{name} {context}"
        if context == "other_organization" or (context == "other_workspace" and role in NARROW):
            assert comparable(answer, ids) == world.unknown(name, MATRIX[name], role), f"{name} {context}"
        asked += 1
    assert asked > 50
    assert role in ROLES


def test_recording_and_managing_work(world: World) -> None:
    """Behind a pooler nothing could be recorded, or a key would be made for another organization."""
    for tenant in (world.first, world.second):
        made = tenant.post("/v1/keys", {"name": "behind", "permissions": ["read", "write"]})
        listed = [one["id"] for one in tenant.client.get("/v1/keys").json()["keys"]]
        assert made["id"] in listed
        own = tenant.client.get("/v1/events:count", params={"stream": "tallystick"}).json()["count"]
        assert own > 0
    ada = {one["id"] for one in world.first.client.get("/v1/keys").json()["keys"]}
    bob = {one["id"] for one in world.second.client.get("/v1/keys").json()["keys"]}
    assert ada
    assert bob
    assert not ada & bob

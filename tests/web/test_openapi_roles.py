"""What the description promises holds for everybody: each kind of caller sends the same generated requests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from access_world import ROLES, World
from postgres import Cluster, fresh_database
from server import Servers, server_folder
from tallystick.web.app import OPERATIONS

CHECKS = (not_a_server_error, status_code_conformance)
# They ask the provider, which is away here: that is a 503, and no fault of ours.
ASKS_OTHERS = frozenset({"createIdentityProvider", "changeIdentityProvider"})
EXAMPLES = 1  # of each operation, sent by every kind of caller; test_openapi.py generates more for keys


@pytest.fixture(scope="module")
def world(postgres_cluster: Cluster, template_database: str) -> Iterator[World]:
    """An organization with a caller of every kind, of this module's own: requests may change what they like."""
    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        try:
            yield World(running.start(database=database.logins.owner), database.logins.owner.url)
        finally:
            running.stop()


@pytest.fixture(scope="module")
def document(world: World) -> schemathesis.BaseSchema:
    """The published description."""
    return schemathesis.openapi.from_url(f"{world.server.url}/openapi.json")


def shown_by(client: httpx2.Client) -> dict[str, str]:
    """Return the headers by which the server knows who calls."""
    known = {
        name: client.headers[name]
        for name in ("Authorization", "X-Organization-Id", "Origin")
        if name in client.headers
    }
    cookies = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
    return known | ({"Cookie": cookies} if cookies else {})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_nobody_gets_an_answer_that_is_not_described(
    world: World, document: schemathesis.BaseSchema, operation
) -> None:
    """A role that nobody tried would get a server error, or a status that no client expects."""
    found = document[operation.path.replace(":path}", "}")][operation.method]
    checks = CHECKS[1:] if operation.name in ASKS_OTHERS else CHECKS

    @settings(
        max_examples=EXAMPLES, phases=[Phase.generate], deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=found.as_strategy())
    def check(case: schemathesis.Case) -> None:
        for role in ROLES:
            response = case.call(headers=shown_by(world.callers.get(role) or world.caller(role)), timeout=30)
            case.validate_response(response, checks=checks, additional_checks=[])

    try:
        check()
    finally:
        if operation.name == "switchOrganization":
            assert (
                world.first.client.patch("/v1/organization", json={"can_use_audit_logs": True}).status_code
                == 200
            )


def test_everybody_is_still_who_they_were(world: World) -> None:
    """Callers that were signed out on the way would have proven nothing."""
    for role in ROLES:
        status = world.caller(role).get("/v1/me").status_code
        assert status == {"anonymous": 401, "viewer_token": 403}.get(role, 200), role

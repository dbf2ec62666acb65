"""The published description of the API: valid, complete, and true of what the server really answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server import Server, Servers, event, events
from tallystick.web.app import OPERATIONS

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
KEYS = ("admin", "read", "write", "bound")
# It asks the provider, which is away here: that is a 503, and no fault of ours.
ASKS_OTHERS = frozenset({"createIdentityProvider", "changeIdentityProvider"})


@pytest.fixture(scope="module")
def target(postgres_cluster, template_database: str) -> Iterator[Server]:
    """A server of this module's own: whatever is thrown at it may switch things off."""
    from postgres import fresh_database
    from server import server_folder

    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        server = running.start(database=database.logins.owner)
        with server.client() as client:
            assert client.post("/v1/events:batch", json=events(20)).status_code == 200
            assert client.post("/v1/events", json=event(workspace="wsp_1")).status_code == 201
        yield server
        running.stop()


@pytest.fixture(scope="module")
def secrets(target: Server) -> dict[str, str]:
    """One key of each kind."""
    return {
        "admin": target.admin_key,
        "read": target.key("read"),
        "write": target.write_key,
        "bound": target.key("read", "write", workspace="wsp_1"),
    }


@pytest.fixture(scope="module")
def document(target: Server) -> schemathesis.BaseSchema:
    """The published description."""
    return schemathesis.openapi.from_url(f"{target.url}/openapi.json")


def test_description_is_valid_openapi(document: schemathesis.BaseSchema) -> None:
    """Tools that make clients from the description would refuse it."""
    document.validate()
    assert document.raw_schema["openapi"].startswith("3.1")


def test_every_operation_is_described(document: schemathesis.BaseSchema) -> None:
    """An operation would exist that nobody can read about."""
    described = {
        (method.upper(), path): found
        for path, methods in document.raw_schema["paths"].items()
        for method, found in methods.items()
    }
    assert described.keys() == {(one.method, one.path.replace(":path}", "}")) for one in OPERATIONS}
    for place, found in described.items():
        assert found["summary"], place
        assert found["operationId"], place
        assert {"400", "401", "403", "404", "503"} <= found["responses"].keys(), place
    ids = [found["operationId"] for found in described.values()]
    assert len(set(ids)) == len(ids)


def test_description_refers_to_nothing_that_is_not_there(document: schemathesis.BaseSchema) -> None:
    """A reference into nothing would break every generated client."""

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in set(references(document.raw_schema)):
        place: object = document.raw_schema
        assert reference.startswith("#/"), reference
        for step in reference[2:].split("/"):
            place = place[step]  # type: ignore[index]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_answers_are_as_described(
    target: Server, document: schemathesis.BaseSchema, secrets: dict[str, str], operation, kind: str
) -> None:
    """An operation would answer generated requests with a server error, or in a way that is not described."""
    found = document[operation.path.replace(":path}", "}")][operation.method]
    headers = {"Authorization": f"Bearer {secrets[kind]}"}

    @settings(
        max_examples=8,
        phases=[Phase.explicit, Phase.generate],
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=found.as_strategy())
    def check(case: schemathesis.Case) -> None:
        response = case.call(headers=headers, timeout=30)
        away = operation.name in ASKS_OTHERS and response.status_code == 503
        case.validate_response(response, checks=CHECKS[1:] if away else CHECKS)

    try:
        check()
    finally:
        if operation.name == "switchOrganization" and kind == "admin":
            with target.client() as admin:
                assert admin.patch("/v1/organization", json={"can_use_audit_logs": True}).status_code == 200


def test_examples_of_the_description_work(target: Server, document: schemathesis.BaseSchema) -> None:
    """The first thing a reader copies from the docs would be refused."""
    with httpx2.Client(base_url=target.url, headers={"X-API-Key": target.admin_key}, verify=False) as client:
        for operation in OPERATIONS:
            if (
                operation.body is not None
                and operation.body.example is not None
                and "{" not in operation.path
            ):
                kind = operation.body.types[0]
                answer = client.request(
                    operation.method,
                    operation.path,
                    json=operation.body.example,
                    headers={"Content-Type": kind},
                )
                # What the tests before this one made of the same example is there already.
                expected = answer.is_success or answer.status_code == 409
                assert expected or operation.name in ASKS_OTHERS, (operation.name, answer.text)
            query = {
                one.name: one.example for one in operation.parameters if one.example and one.place == "query"
            }
            needed = {
                one.name: one.example for one in operation.parameters if one.required and one.name in query
            }
            places = {one.name: one.example for one in operation.parameters if one.place == "path"}
            path = operation.path.format(**places) if query else ""
            # Filters are declared once for all: where each question makes something, one of them is enough.
            for name, example in list(query.items())[: None if operation.method == "GET" else 1]:
                answer = client.request(operation.method, path, params={**needed, name: example})
                assert answer.is_success, (operation.name, name, answer.text)

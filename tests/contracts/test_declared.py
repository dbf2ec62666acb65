"""What is said about the contracts, in OpenAPI and in the documentation, is what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.conftest import Seeded
from tallystick.web.app import OPERATIONS

PAGE = (Path(__file__).parents[2] / "docs/reference/contracts.md").read_text()
CONTRACTS = [operation for operation in OPERATIONS if operation.tag == "Other products"]
READING = [operation for operation in CONTRACTS if operation.permission is not None]


@pytest.mark.parametrize("operation", CONTRACTS, ids=lambda operation: operation.name)
def test_every_contract_has_its_docs(operation: Any) -> None:
    """A contract nobody can read about is one nobody uses."""
    assert f"`GET {operation.path}`" in PAGE


@pytest.mark.parametrize("operation", READING, ids=lambda operation: operation.name)
def test_errors_are_as_declared(seeded: Seeded, operation: Any) -> None:
    """A client generated from our description must be able to read our errors."""
    described = seeded.get("/openapi.json").json()["paths"][operation.path]["get"]
    anonymous = seeded.server.client(None)
    write_only = seeded.server.client(seeded.server.write_key)
    for answer in (
        anonymous.get(operation.path),
        write_only.get(operation.path),
        seeded.get(operation.path, {"there is": "no such parameter"}),
        seeded.get(operation.path + "?limit=%ff"),
    ):
        declared = described["responses"][str(answer.status_code)]["content"]
        assert answer.headers["content-type"] in declared, answer.text
        schema = declared[answer.headers["content-type"]]["schema"]
        assert set(answer.json()) == set(schema["properties"]), answer.text
        assert "Traceback" not in answer.text
    wrong = anonymous.get(operation.path, headers={"X-API-Key": "tst_wrong"})
    assert (wrong.status_code, wrong.content) == (401, anonymous.get(operation.path).content)


@pytest.mark.parametrize("operation", READING, ids=lambda operation: operation.name)
def test_hostile_queries(seeded: Seeded, operation: Any) -> None:
    """Whatever stands behind the question mark, the answer is one of the caller's mistakes and never ours."""
    for query in (
        "%ff", "limit=%ff", "&" * 2_000, "a=1&" * 1_001, "limit=1" + "0" * 400, "[]=1", "=1", "limit[]=1&limit[]=2",
        "after=%00", "cursor=" + "A" * 2_000, "start_time=9999-12-31T23:59:59-23:59", "effective_at[gt]=-1e9",
        "created_at.gt=2026-01-01T00:00:00%2B99:99", "since_ms=--1", "limit=%EF%BC%91", "limit=+1", "limit=0x10",
    ):  # fmt: skip
        answer = seeded.get(f"{operation.path}?{query}")
        assert answer.status_code in (400, 422, 200), (query, answer.status_code, answer.text[:300])
        assert answer.headers["content-type"] == "application/json"

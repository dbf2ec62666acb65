"""LangSmith's contract, read by its real client, by curl, and field by field."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langsmith import Client
from langsmith.utils import LangSmithError, LangSmithNotFoundError

from contracts.conftest import Seeded
from contracts.seed import ACTIONS, START
from ocsf.test_langsmith import ENRICHMENTS, ORIGINAL, without_nulls
from ocsf.validity import errors
from tallystick.catalogue.products import operations
from tallystick.ocsf.langsmith import PROPERTIES

PATH = "/api/v1/audit-logs"
ALL = {"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59.999999Z"}


def real_client(seeded: Seeded, key: str | None = None) -> Client:
    """Return LangSmith's own client, told our address."""
    return Client(api_url=seeded.server.url, api_key=key or seeded.key)


def read_all(client: Client, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Read page after page with the real client."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.request_with_retries(
            "GET", PATH, request_kwargs={"params": {**params, "cursor": cursor}}
        ).json()
        assert set(page) == {"items", "cursor"}
        assert len(page["items"]) <= params.get("limit", 10)
        items += page["items"]
        cursor = page["cursor"]
        if cursor is None:
            return items
        assert isinstance(json.loads(base64.b64decode(cursor, validate=True)), dict)


@pytest.mark.parametrize("limit", [1, 17, 100])
def test_the_real_client_reads_every_page(seeded: Seeded, limit: int) -> None:
    """A page that repeats or skips an event makes an auditor's copy wrong."""
    items = read_all(real_client(seeded), {**ALL, "limit": limit})
    assert [item["metadata"]["uid"] for item in items] == [one["id"] for one in seeded.newest_first()]


def test_every_field_of_every_item(seeded: Seeded) -> None:
    """A generated client reads these keys without asking whether they exist."""
    by_id = {one["id"]: one for one in seeded.events}
    for item in read_all(real_client(seeded), {**ALL, "limit": 100}):
        event = by_id[item["metadata"]["uid"]]
        assert set(item) == set(PROPERTIES)
        assert (item["class_uid"], item["category_uid"], item["metadata"]["version"]) == (6003, 6, "1.7.0")
        assert item["api"]["operation"] == event["action"]
        assert item["metadata"]["sequence"] == event["position"]
        assert {"ip", "port", "intermediate_ips"} <= set(item["src_endpoint"])
        assert {"uid", "credential_uid"} <= set(item["actor"]["user"])
        assert "code" in item["http_response"]
        assert "http_method" in item["http_request"]
        assert "path" in item["http_request"]["url"]
        assert [one["uid"] for one in item["resources"]] == [one["id"] for one in event["targets"]]
        original = item["unmapped"]["original_audit_log"]
        assert set(original) == ORIGINAL
        assert set(original["enrichments"]) == ENRICHMENTS
        assert original["request_time"] == event["occurred_at"]
        assert original["workspace_id"] == event.get("workspace")
        assert errors(without_nulls({key: value for key, value in item.items() if key != "unmapped"})) == []


def test_curl_as_documented(seeded: Seeded) -> None:
    """The documented command must work as it stands."""
    url = f"{seeded.server.url}{PATH}?start_time=2026-01-01T00:00:00Z&end_time=2026-01-30T00:00:00Z&limit=10"
    answer = subprocess.run(
        ["curl", "-s", url, "-H", f"X-API-Key: {seeded.key}"], capture_output=True, check=True
    )
    page = json.loads(answer.stdout)
    assert len(page["items"]) == 10
    assert page["cursor"]


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from([*ACTIONS, "no_such_operation", "^create", "%"]), max_size=4),
    workspace=st.sampled_from([None, "ws_1", "ws_2", "ws_none", "-"]),
    limit=st.sampled_from([1, 10, 100]),
)
def test_filters(seeded: Seeded, names: list[str], workspace: str | None, limit: int) -> None:
    """A filter that lets one event too many through, or holds one back, is a wrong answer to an auditor."""
    params = {**ALL, "limit": limit, "operations": names, "workspace_id": workspace}
    pages = read_all(real_client(seeded), params) if limit > 1 else []
    expected = [
        one["id"]
        for one in seeded.newest_first()
        if (not names or one["action"] in names) and (workspace is None or one.get("workspace") == workspace)
    ]
    if limit > 1:
        assert [item["metadata"]["uid"] for item in pages] == expected
    else:
        found = seeded.get(PATH, {name: value for name, value in params.items() if value is not None}).json()
        assert [item["metadata"]["uid"] for item in found["items"]] == expected[:1]
        assert (found["cursor"] is not None) == (len(expected) > 1)


def test_both_ends_are_inclusive(seeded: Seeded) -> None:
    """An event at the very instant of either end belongs to the range, to the microsecond."""
    for event in seeded.events[:40]:
        at = event["occurred_at"]
        found = seeded.get(PATH, {"start_time": at, "end_time": at, "limit": 100}).json()["items"]
        expected = {one["id"] for one in seeded.events if one["occurred_at"] == at}
        assert {item["metadata"]["uid"] for item in found} == expected


def test_spellings_of_time(seeded: Seeded) -> None:
    """A client that forgets to encode the plus of an offset, or the offset itself, must not get another range."""
    expected = seeded.get(
        PATH, {"start_time": START.isoformat(), "end_time": "2026-01-06", "limit": 100}
    ).json()
    assert len(expected["items"]) == 100
    for start in ("2026-01-05T12:00:00+00:00", "2026-01-05T12:00:00Z", "2026-01-05T12:00:00", "1767614400"):
        raw = f"{PATH}?start_time={start}&end_time=2026-01-06T00:00:00Z&limit=100"
        found = seeded.get(raw).json()
        assert found["items"] == expected["items"], start


@pytest.mark.parametrize(
    ("params", "problems"),
    [
        ({}, [("start_time", "missing"), ("end_time", "missing")]),
        ({"start_time": "2026-01-01T00:00:00Z"}, [("end_time", "missing")]),
        ({**ALL, "start_time": "yesterday"}, [("start_time", "datetime_parsing")]),
        ({**ALL, "start_time": ""}, [("start_time", "datetime_parsing")]),
        ({**ALL, "limit": 0}, [("limit", "greater_than_equal")]),
        ({**ALL, "limit": 101}, [("limit", "less_than_equal")]),
        ({**ALL, "limit": "ten"}, [("limit", "int_parsing")]),
        ({**ALL, "workspace_id": ""}, [("workspace_id", "string_too_short")]),
        ({**ALL, "operation": "create_api_key"}, [("operation", "extra_forbidden")]),
        ({**ALL, "operations": "\x00"}, [("operations", "string_too_long")]),
        ({**ALL, "workspace_id": ["ws_1", "ws_2"]}, [("workspace_id", "multiple_values")]),
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """A parameter that cannot be used is refused in FastAPI's shape, all of them at once, and never ignored."""
    answer = seeded.get(PATH, params)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"detail"}
    found = answer.json()["detail"]
    assert all(set(one) == {"loc", "msg", "type"} and one["loc"][0] == "query" for one in found)
    assert [(one["loc"][1], one["type"]) for one in found] == problems


def test_start_after_end_is_empty(seeded: Seeded) -> None:
    """A range that holds nothing is answered with nothing."""
    params = {"start_time": "2026-01-30T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}
    assert seeded.get(PATH, params).json() == {"items": [], "cursor": None}


def test_cursors_are_bound(seeded: Seeded) -> None:
    """A cursor that was changed, made for another question or another organization shows no row of anybody."""
    cursor = seeded.get(PATH, {**ALL, "limit": 5}).json()["cursor"]
    inner = json.loads(base64.b64decode(cursor))["next"]
    last = "A" if inner[-3] != "A" else "B"
    forged = base64.b64encode(json.dumps({"next": inner[:-3] + last + inner[-2:]}).encode()).decode()
    empty = base64.b64encode(b'{"next": ""}').decode()
    for bad in (forged, empty, inner, "e30=", "💥", "null", base64.b64encode(b"[1]").decode()):
        answer = seeded.get(PATH, {**ALL, "limit": 5, "cursor": bad})
        assert (answer.status_code, set(answer.json())) == (400, {"detail"}), bad
    for more in ({"operations": "create_api_key"}, {"start_time": "2026-01-01"}, {"workspace_id": "ws_1"}):
        answer = seeded.get(PATH, {**ALL, "limit": 5, "cursor": cursor, **more})
        assert answer.status_code == 400, more
    foreign = seeded.get(
        PATH, {**ALL, "cursor": cursor}, headers={"Authorization": f"Bearer {seeded.other_key}"}
    )
    assert foreign.status_code == 400, foreign.text
    assert seeded.get(PATH, {**ALL, "limit": 7, "cursor": cursor}).status_code == 200, "the size may change"


def test_the_organization_header(seeded: Seeded) -> None:
    """A key shows its own organization, whatever a header claims."""
    own = str(seeded.server.organization_id)
    for value, status in ((own, 200), (own.upper(), 200), ("0" * 32, 403), ("nonsense", 403)):
        answer = seeded.get(PATH, ALL, headers={"X-Organization-Id": value})
        assert answer.status_code == status, value
    assert "items" not in answer.json()


def test_operations(seeded: Seeded) -> None:
    """The list that fills a filter holds every name LangSmith publishes."""
    found = real_client(seeded).request_with_retries("GET", f"{PATH}/operations").json()
    assert found == {"operations": list(operations("langsmith"))}
    assert len(found["operations"]) == 394


def test_info(seeded: Seeded) -> None:
    """The real client asks for this before anything else, without a key being needed."""
    assert real_client(seeded).info.version
    for path in ("/info", "/api/v1/info"):
        answer = seeded.server.client(None).get(path)
        assert answer.json()["instance_flags"] == {"audit_logs_enabled": True}


def test_errors_as_the_client_knows_them(seeded: Seeded) -> None:
    """A script that handles LangSmith's errors must see the same ones."""
    with pytest.raises(LangSmithError, match=r"401|Authentication"):
        real_client(seeded, "tst_wrong").request_with_retries("GET", PATH, request_kwargs={"params": ALL})
    with pytest.raises(LangSmithNotFoundError):
        real_client(seeded).request_with_retries("GET", "/api/v1/audit-logs/nothing")
    write_only = seeded.server.client(seeded.server.write_key).get(PATH, params=ALL)
    assert (write_only.status_code, set(write_only.json())) == (403, {"detail"})

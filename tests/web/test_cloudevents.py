"""CloudEvents, made by their own SDK, sent to a running server in all three modes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from cloudevents.v1.conversion import to_dict
from cloudevents.v1.http import CloudEvent, to_binary, to_structured

from server import Server
from tallystick.errors import Refused
from tallystick.sources.cloudevents import event_of, from_binary, id_of

BATCH = "application/cloudevents-batch+json"


def post(server: Server, headers: dict[str, str], body: bytes, key: str | None = None) -> Any:
    given = {"Authorization": f"Bearer {key or server.write_key}", **headers}
    with httpx2.Client(base_url=server.url, verify=False, timeout=60) as client:
        return client.post("/v1/cloudevents", content=body, headers=given)


def logged(server: Server, id: str) -> dict[str, Any]:
    with server.client() as client:
        answer = client.get(f"/v1/events/{id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def made(id: str, data: Any = None, **more: str) -> CloudEvent:
    attributes = {
        "id": id, "source": "/billing", "type": "budget.update", "subject": "budget/b_1",
        "time": datetime(2026, 6, 1, 12, tzinfo=UTC).isoformat(), **more,
    }  # fmt: skip
    return CloudEvent(attributes, {"limit": 200} if data is None else data)


@pytest.mark.parametrize("write", [to_structured, to_binary])
def test_the_real_sdk_is_understood(server: Server, write: Any) -> None:
    """A CloudEvent in either mode must become the event that the mapping declares, and once only."""
    id = f"real-{write.__name__}"
    headers, body = write(
        made(id, actorid="u_1", workspace="ws_ce", region="eu", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    )
    first, again = post(server, headers, body), post(server, headers, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["position"] == again.json()["position"]
    event = logged(server, first.json()["id"])
    assert event["id"] == str(id_of("/billing", id))
    assert (event["action"], event["workspace"]) == ("budget.update", "ws_ce")
    assert event["actor"] == {"type": "user", "id": "u_1"}
    assert event["targets"] == [{"type": "budget", "id": "b_1"}]
    assert event["occurred_at"] == "2026-06-01T12:00:00.000000Z"
    assert event["context"]["trace_id"] == "a" * 32
    assert event["metadata"] == {
        "cloudevent": {"id": id, "source": "/billing", "region": "eu"}, "data": {"limit": 200},
    }  # fmt: skip


def test_both_modes_are_one_event(server: Server) -> None:
    """A broker that changes the mode on the way must not make a second event."""
    first = post(server, *to_structured(made("modes")))
    again = post(server, *to_binary(made("modes")))
    assert (first.status_code, again.status_code) == (201, 200), again.text


def test_a_batch_has_a_result_for_each(server: Server) -> None:
    """One broken CloudEvent must not keep the others of its batch out."""
    batch = [
        to_dict(made("batch-1")),
        {"id": "x"},
        to_dict(made("batch-2")),
        to_dict(made("batch-3", type="no action")),
    ]
    answer = post(server, {"Content-Type": BATCH}, json.dumps(batch).encode())
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["status"] for one in results] == ["created", "rejected", "created", "rejected"]
    assert (results[1]["error"]["path"], results[3]["error"]["path"]) == ("/source", "/action")
    assert logged(server, results[2]["id"])["metadata"]["cloudevent"]["id"] == "batch-2"


def test_the_fields_of_an_event_in_the_data(server: Server) -> None:
    """Before, after and who acted must be found where the mapping says."""
    audit = {
        "actor": {"type": "user", "id": "u_9"},
        "before": {"limit": 1},
        "after": {"limit": 2},
        "metadata": {"k": 1},
    }
    answer = post(server, *to_structured(made("audit", {"audit": audit, "limit": 2})))
    event = logged(server, answer.json()["id"])
    assert (event["actor"]["id"], event["changes"][0]["path"]) == ("u_9", "/limit")
    assert event["metadata"] == {
        "cloudevent": {"id": "audit", "source": "/billing"}, "data": {"limit": 2}, "k": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "application/cloudevents+json"}, b"[", 400),
        ({"Content-Type": "application/cloudevents+json"}, b"{}", 400),
        ({"Content-Type": BATCH}, b"{}", 400),
        ({"ce-id": "1", "Content-Type": "application/json"}, b"{}", 400),
    ],
)
def test_what_is_no_cloud_event(server: Server, headers: dict[str, str], body: bytes, status: int) -> None:
    """A mistake must be told in the words of every other operation."""
    answer = post(server, headers, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": None}, "/id"), ({"source": 1}, "/source"), ({"type": ""}, "/type"), ({"specversion": "0.3"}, "/specversion"),
        ({"data": {"audit": {"id": "x"}}}, "/data/audit/id"), ({"data": {"audit": {"action": "x"}}}, "/data/audit/action"),
    ],
)  # fmt: skip
def test_attributes_that_are_missing_or_wrong(change: dict[str, Any], path: str) -> None:
    """What cannot be an event must be refused by the attribute that its producer wrote."""
    with pytest.raises(Refused) as refusal:
        event_of({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b", **change})
    assert refusal.value.path == path


def test_bodies_that_are_not_json() -> None:
    """Whatever the data is, it must be kept as it was or refused, never guessed."""
    attributes = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b"}
    assert from_binary(attributes, "text/plain", b"h\xc3\xa9")["data"] == "hé"
    assert from_binary(attributes, "image/png", b"\x89")["data"] == "iQ=="
    assert from_binary(attributes, "text/plain", b"\xff")["data"] == "/w=="
    assert "data" not in from_binary(attributes, "", b"")
    with pytest.raises(Refused):
        from_binary(attributes, "application/vnd.x+json", b"{")


def test_source_and_id_are_told_apart() -> None:
    """Two sources that count from 1 must not take each other's ids."""
    assert len({id_of("a", "bc"), id_of("ab", "c"), id_of("a", "b")}) == 3
    assert id_of("/billing", "1").version == 8
    target = json.loads(
        event_of({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b", "subject": "x"})
    )
    assert target["targets"] == [{"type": "subject", "id": "x"}]
    assert target["actor"] == {"type": "service", "id": "/s"}

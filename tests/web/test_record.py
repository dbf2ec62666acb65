"""Recording over HTTP: every status, every encoding, every limit."""

from __future__ import annotations

import gzip
import json
from uuid import uuid4

import httpx2
import pytest
import zstandard

from server import Server, event, events
from tallystick.event.limits import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_BYTES_MAX
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.tlog_proof import parse_tlog_proof
from web.shapes import problem

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def writer(server: Server) -> httpx2.Client:
    """A client with the write key."""
    return server.client(server.write_key)


def test_record_answers_with_position_and_receipt(server: Server, writer: httpx2.Client) -> None:
    """A recorded event would come back without the position, time or receipt that its producer must keep."""
    sent = event()
    answer = writer.post("/v1/events", json=sent)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found.keys() == {"id", "position", "received_at", "receipt"}
    assert found["id"] == sent["id"]
    proof = parse_tlog_proof(found["receipt"])
    signed = open_checkpoint(proof.checkpoint, [server.verifier], origin=server.verifier.name).checkpoint
    assert proof.index == found["position"] < signed.size
    with server.client() as reader:
        stored = reader.get(f"/v1/events/{sent['id']}").json()
    assert stored["position"] == found["position"]
    assert stored["received_at"] == found["received_at"]
    assert stored["actor"] == sent["actor"]
    assert stored["after"] == sent["after"]


def test_repeat_is_200_with_first_position(writer: httpx2.Client) -> None:
    """A retry would become a second row, or an error that makes the producer drop the event."""
    sent = event()
    first = writer.post("/v1/events", json=sent).json()
    again = writer.post("/v1/events", json=sent)
    assert again.status_code == 200
    assert (again.json()["position"], again.json()["received_at"]) == (
        first["position"],
        first["received_at"],
    )


def test_same_id_other_content_is_409(server: Server, writer: httpx2.Client) -> None:
    """Another event under a used id would be taken for a retry and silently be lost."""
    sent = event()
    writer.post("/v1/events", json=sent)
    before = server.recorded()
    problem(writer.post("/v1/events", json={**sent, "action": "api_key.delete"}), 409, "conflict", "/id")
    assert server.recorded() == before


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"action": "no spaces please"}, "/action"),
        ({"action": 7}, "/action"),
        ({"actor": {"type": "wizard", "id": "m"}}, "/actor/type"),
        ({"occurred_at": "yesterday"}, "/occurred_at"),
        ({"colour": "green"}, "/colour"),
        ({"targets": [{"type": "a", "id": "b", "shape": "c"}]}, "/targets/0/shape"),
    ],
)
def test_what_developers_write_wrong_is_named(
    server: Server, writer: httpx2.Client, change: dict[str, object], path: str
) -> None:
    """A developer's mistake would be stored, or refused without saying where it is."""
    before = server.recorded()
    problem(writer.post("/v1/events", json=event(**change)), 400, path=path)
    assert server.recorded() == before


def test_event_over_its_limit_is_413(server: Server, writer: httpx2.Client) -> None:
    """An event over 256 KiB would be cut without a word or fill the memory."""
    before = server.recorded()
    problem(
        writer.post("/v1/events", json=event(metadata={"x": ["y" * 1000] * (EVENT_BYTES_MAX // 1000)})), 413
    )
    assert server.recorded() == before


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events:batch"])
def test_body_over_8_mib_is_413(server: Server, writer: httpx2.Client, path: str) -> None:
    """A body over 8 MiB would be read to its end, announced or not."""
    before = server.recorded()
    body = b"[" + b" " * BATCH_BYTES_MAX + b"]"
    problem(writer.post(path, content=body, headers=JSON), 413)
    unannounced = (body[at : at + 65536] for at in range(0, len(body), 65536))
    problem(writer.post(path, content=unannounced, headers=JSON), 413)
    assert server.recorded() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events:batch", "/v1/keys"])
def test_other_media_types_are_415(server: Server, path: str, kind: str) -> None:
    """A form posted by a foreign page in a browser would be taken as an event."""
    headers = {"Content-Type": kind} if kind else {}
    problem(
        server.client().post(path, content=json.dumps(event()).encode(), headers=headers), 415, "media_type"
    )


def test_batch_array_in_order(server: Server, writer: httpx2.Client) -> None:
    """A batch's results would not be those of its events, in their order and next to each other."""
    sent = events(20)
    answer = writer.post("/v1/events:batch", json=sent)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [one["id"] for one in results] == [one["id"] for one in sent]
    assert {one["status"] for one in results} == {"created"}
    positions = [one["position"] for one in results]
    assert positions == list(range(positions[0], positions[0] + 20))
    proof = parse_tlog_proof(answer.json()["receipt"])
    open_checkpoint(proof.checkpoint, [server.verifier], origin=server.verifier.name)
    assert proof.index == positions[-1]


def _encodings() -> list[tuple[str, object]]:
    return [
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
        ("GZIP", gzip.compress),
    ]


@pytest.mark.parametrize(("encoding", "compress"), _encodings())
@pytest.mark.parametrize("ndjson", [False, True])
def test_batch_encodings(writer: httpx2.Client, encoding: str, compress, ndjson: bool) -> None:
    """A producer that compresses its batches, or sends lines, would be refused or misread."""
    sent = events(30)
    body = "\n".join(json.dumps(one) for one in sent) if ndjson else json.dumps(sent)
    headers = {**(NDJSON if ndjson else JSON), "Content-Encoding": encoding}
    answer = writer.post("/v1/events:batch", content=compress(body.encode()), headers=headers)
    assert answer.status_code == 200, answer.text
    assert [one["id"] for one in answer.json()["results"]] == [one["id"] for one in sent]


def test_batch_partial(server: Server, writer: httpx2.Client) -> None:
    """One bad event would take the good ones of its batch with it, or be dropped without a word."""
    before = server.recorded()
    repeated = event()
    writer.post("/v1/events", json=repeated)
    sent = [event(), event(action="no spaces please"), repeated, {**repeated, "action": "other"}, event()]
    answer = writer.post("/v1/events:batch", json=sent)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [one["status"] for one in results] == ["created", "rejected", "duplicate", "rejected", "created"]
    assert results[1]["error"]["path"] == "/action"
    assert results[3]["error"]["rule"] == "conflict"
    assert server.recorded() == before + 3


def test_batch_of_a_thousand_and_of_one_more(server: Server, writer: httpx2.Client) -> None:
    """The limit of a batch would be off by one, or a batch over it half stored."""
    before = server.recorded()
    sent = events(BATCH_EVENTS_MAX + 1)
    problem(writer.post("/v1/events:batch", json=sent), 413)
    lines = "\n".join(json.dumps(one) for one in sent).encode()
    problem(writer.post("/v1/events:batch", content=lines, headers=NDJSON), 413)
    assert server.recorded() == before
    answer = writer.post("/v1/events:batch", json=sent[:-1])
    assert answer.status_code == 200
    assert server.recorded() == before + BATCH_EVENTS_MAX


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"7", b'{"events": 1}', b"[" * 100_000, b'[{"a":1}', b"\xff\xfe"]
)
def test_batch_that_is_none_is_400(server: Server, writer: httpx2.Client, body: bytes) -> None:
    """A body that is no batch would be an empty success, and its producer believe in it."""
    before = server.recorded()
    problem(writer.post("/v1/events:batch", content=body, headers=JSON), 400)
    assert server.recorded() == before


def test_hundred_repeats_at_once_are_one_event(server: Server, writer: httpx2.Client) -> None:
    """An event repeated within one batch would be stored as often as it stands there."""
    before = server.recorded()
    sent = event()
    answer = writer.post("/v1/events:batch", json=[sent] * 100)
    assert [one["status"] for one in answer.json()["results"]] == ["created"] + ["duplicate"] * 99
    assert len({one["position"] for one in answer.json()["results"]}) == 1
    assert server.recorded() == before + 1


def test_ids_are_made_where_none_is_given(writer: httpx2.Client) -> None:
    """Two equal events without an id would be taken for one."""
    sent = event(id=None)
    first, second = (writer.post("/v1/events", json=sent).json() for _ in range(2))
    assert first["id"] != second["id"]
    assert first["position"] != second["position"]


def test_bound_key_records_in_its_workspace_only(server: Server) -> None:
    """A key of one workspace would write into another one's log."""
    with server.client(server.key("write", workspace="wsp_1")) as bound:
        problem(bound.post("/v1/events", json=event(workspace="wsp_2")), 403, path="/workspace")
        sent = event()
        assert bound.post("/v1/events", json=sent).status_code == 201
    with server.client() as reader:
        assert reader.get(f"/v1/events/{sent['id']}").json()["workspace"] == "wsp_1"


def test_whole_log_holds_after_all_of_this(server: Server) -> None:
    """Something of the above would have left the log inconsistent."""
    with server.client(server.write_key) as writer:
        assert writer.post("/v1/events", json=event(id=str(uuid4()))).status_code == 201
    assert server.check_whole_log() <= server.size()

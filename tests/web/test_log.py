"""Checkpoint, tiles and proofs over HTTP, checked by a client that trusts the server for nothing."""

from __future__ import annotations

import base64

import httpx2
import pytest

from server import Server, events
from tallystick.merkle.checkpoint import Checkpoint, open_checkpoint
from tallystick.merkle.proof import verify_consistency, verify_inclusion
from tallystick.merkle.tile import TILE_WIDTH, reader_over, tiles_of_size
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import root_of, split_hashes
from web.shapes import problem


@pytest.fixture
def reader(server: Server) -> httpx2.Client:
    """A client with the admin key, and more than one full tile in the log."""
    client = server.client()
    while server.size() < 2 * TILE_WIDTH + 10:
        assert client.post("/v1/events:batch", json=events(300)).status_code == 200
    return client


def checkpoint(server: Server, client: httpx2.Client) -> Checkpoint:
    """Return the newest checkpoint, its signature checked with the key from the data folder."""
    note = client.get("/v1/log/checkpoint").text
    return open_checkpoint(note, [server.verifier], origin=server.verifier.name).checkpoint


def leaf_hashes(client: httpx2.Client, size: int) -> list[bytes]:
    """Return the log's leaf hashes from its tiles of level 0."""
    found: list[bytes] = []
    for tile in tiles_of_size(size):
        if tile.level == 0:
            answer = client.get(f"/v1/log/{tile.path()}")
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/octet-stream"
            assert "immutable" in answer.headers["cache-control"]
            found += split_hashes(answer.content)
    return found


def hashes(texts: list[str]) -> list[bytes]:
    """Return a proof's hashes."""
    return [base64.b64decode(text) for text in texts]


def test_tiles_lead_to_the_signed_root(server: Server, reader: httpx2.Client) -> None:
    """The tiles would be of another tree than the signed one."""
    signed = checkpoint(server, reader)
    leaves = leaf_hashes(reader, signed.size)
    assert len(leaves) == signed.size
    assert root_of(leaves) == signed.root
    tiles = [(tile, reader.get(f"/v1/log/{tile.path()}").content) for tile in tiles_of_size(signed.size)]
    reader_over(signed.size, tiles)


def test_inclusion_and_consistency_proofs(server: Server, reader: httpx2.Client) -> None:
    """A proof would not prove what it is for."""
    signed = checkpoint(server, reader)
    leaves = leaf_hashes(reader, signed.size)
    for position in (0, 1, 255, 256, signed.size - 1):
        for size in (None, signed.size, position + 1):
            query = {"position": position} | ({} if size is None else {"size": size})
            proof = reader.get("/v1/log/proof/inclusion", params=query).json()
            of = proof["size"]
            root = root_of(leaves[:of]) if of <= signed.size else checkpoint(server, reader).root
            verify_inclusion(position, of, leaves[position], hashes(proof["hashes"]), root)
    for old in (1, 2, 255, 256, 257, signed.size):
        proof = reader.get("/v1/log/proof/consistency", params={"old": old, "new": signed.size}).json()
        verify_consistency(old, signed.size, hashes(proof["hashes"]), root_of(leaves[:old]), signed.root)


def test_one_event_comes_with_its_proof(server: Server, reader: httpx2.Client) -> None:
    """The proof beside an event would be another event's."""
    event = reader.get("/v1/events", params={"limit": 1}).json()["events"][0]
    found = reader.get(f"/v1/events/{event['id']}", params={"proof": "true"}).json()
    receipt = parse_tlog_proof(found["proof"])
    size = open_checkpoint(receipt.checkpoint, [server.verifier], origin=server.verifier.name).checkpoint.size
    leaf = leaf_hashes(reader, size)[found["position"]]
    assert receipt.index == found["position"]
    receipt.verify(leaf, [server.verifier], origin=server.verifier.name)


@pytest.mark.parametrize(
    "query",
    [
        "inclusion", "inclusion?position=x", "inclusion?position=-1", "inclusion?position=0&size=0", "inclusion?position=5&size=5",
        "inclusion?position=999999999", "inclusion?position=0&size=99999999", "inclusion?position=0&position=1", "inclusion?a=1",
        "consistency", "consistency?old=5&new=4", "consistency?old=99999999", "consistency?old=1&new=x", "consistency?old=²",
        "inclusion?position=9999999999999999999999",
    ],
)  # fmt: skip
def test_impossible_proofs_are_refused(reader: httpx2.Client, query: str) -> None:
    """An impossible question would be a server error, or be answered with some proof."""
    problem(reader.get(f"/v1/log/proof/{query}"), 400)


def test_log_only_grows(server: Server, reader: httpx2.Client) -> None:
    """A later checkpoint would not extend an earlier one."""
    before = checkpoint(server, reader)
    assert reader.post("/v1/events:batch", json=events(3)).status_code == 200
    after = checkpoint(server, reader)
    proof = reader.get("/v1/log/proof/consistency", params={"old": before.size, "new": after.size}).json()
    verify_consistency(before.size, after.size, hashes(proof["hashes"]), before.root, after.root)


def test_health_and_numbers(server: Server, reader: httpx2.Client) -> None:
    """An operator's dashboard would show a server that is up but of no use, or numbers that never move."""
    assert reader.get("/healthz").json()["status"] == "ok"
    ready = reader.get("/readyz")
    assert ready.status_code == 200
    assert all(check["ok"] for check in ready.json()["checks"])
    text = reader.get("/metrics").text
    assert 'tallystick_events_total{status="created"}' in text
    assert 'tallystick_requests_total{operation="recordBatch",status="200"}' in text
    assert "tallystick_queued_events 0.0" in text
    assert server.admin_key not in text

"""A witness's promises: it cosigns only what extends the last it cosigned, says so as c2sp.org/tlog-witness asks, and
remembers across crashes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Misconfigured, Refused, TooLarge
from tallystick.merkle.checkpoint import Checkpoint, open_checkpoint
from tallystick.merkle.keys import SignerKey, VerifierKey
from tallystick.merkle.note import parse_note
from tallystick.merkle.proof import consistency_proof
from tallystick.merkle.tile import reader_over, tiles_of_size
from tallystick.merkle.tree import EMPTY_ROOT, leaf_hash, root_of
from tallystick.merkle.witness import (
    AddCheckpoint,
    parse_add_checkpoint,
    parse_size,
    read_cosignature,
    with_lines,
)
from tallystick.services.witness import OldSize, Witness, open_key
from witness.world import WitnessProcess, start_witness

LOG_KEY = SignerKey("log.example.org", b"l" * 32)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]
FORKED = [*LEAVES[:3], leaf_hash(b"another"), *LEAVES[4:]]


def note(
    size: int, leaves: list[bytes] = LEAVES, key: SignerKey = LOG_KEY, origin: str = LOG_KEY.name
) -> str:
    root = root_of(leaves[:size]) if size else EMPTY_ROOT
    return Checkpoint(origin, size, root).sign(key).format()


def request(old: int, new: int, leaves: list[bytes] = LEAVES, **more: object) -> bytes:
    tiles = [(tile, b"".join(leaves[: tile.width])) for tile in tiles_of_size(new)]
    proof = consistency_proof(old, new, reader_over(new, tiles)) if 0 < old < new else []
    return AddCheckpoint(old, tuple(proof), note(new, leaves, **more)).format().encode()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WitnessProcess]:
    started = start_witness(tmp_path_factory.mktemp("witness"), "w.example.org/1", LOG_KEY.verifier.format())
    yield started
    started.stop()


@pytest.fixture(scope="module")
def client(running: WitnessProcess) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.url, timeout=30.0) as made:
        yield made


def test_every_status_of_the_specification(running: WitnessProcess, client: httpx2.Client) -> None:
    """A log written for other witnesses could not work with this one."""
    key = VerifierKey.parse(running.key)

    def ask(body: bytes) -> httpx2.Response:
        return client.post("/add-checkpoint", content=body)

    assert ask(request(0, 4, origin="other.example.org")).status_code == 404
    assert ask(request(0, 4, key=SignerKey(LOG_KEY.name, b"x" * 32))).status_code == 403
    first = ask(request(0, 4))
    assert first.status_code == 200
    opened = open_checkpoint(with_lines(note(4), [first.text]), [LOG_KEY.verifier], witnesses=[key])
    assert [one.name for one in opened.cosigned_by] == [running.name]
    assert (
        abs(read_cosignature(first.content, parse_note(note(4)).text, key)[1] - datetime.now().timestamp())
        < 3600
    )
    behind = ask(request(2, 9))
    assert (behind.status_code, behind.headers["content-type"], behind.content) == (
        409,
        "text/x.tlog.size",
        b"4\n",
    )
    assert ask(request(0, 9)).status_code == 409
    assert ask(AddCheckpoint(9, (), note(4)).format().encode()).status_code == 400
    assert ask(request(4, 9, FORKED)).status_code == 422
    fork = ask(request(4, 4, FORKED))
    assert (fork.status_code, fork.content) == (409, b"4\n")
    assert ask(request(4, 9)).status_code == 200
    assert ask(request(9, 9)).status_code == 200
    assert ask(request(4, 4)).status_code == 409
    assert ask(b"nonsense").status_code == 400
    assert ask(b"x" * (65 << 10)).status_code == 400
    assert client.get("/add-checkpoint").status_code == 405
    assert client.get("/").json()["logs"] == [{"origin": LOG_KEY.name, "size": 9}]
    assert len(list((running.data / "state").glob("*.conflict"))) == 2


def test_memory_survives_a_kill(tmp_path: Path) -> None:
    """A witness that forgot what it cosigned would cosign a second history after a power cut."""
    first = start_witness(tmp_path / "w", "w.example.org/2", LOG_KEY.verifier.format())
    assert httpx2.post(f"{first.url}/add-checkpoint", content=request(0, 7), timeout=30.0).status_code == 200
    first.kill()
    again = start_witness(tmp_path / "w", "w.example.org/2", LOG_KEY.verifier.format())
    try:
        assert again.key == first.key
        refused = httpx2.post(f"{again.url}/add-checkpoint", content=request(0, 5), timeout=30.0)
        assert (refused.status_code, refused.content) == (409, b"7\n")
        assert (
            httpx2.post(f"{again.url}/add-checkpoint", content=request(7, 8), timeout=30.0).status_code == 200
        )
    finally:
        again.stop()


def witness(folder: Path) -> Witness:
    return Witness(SignerKey("w.example.org/3", b"w" * 32), folder, [LOG_KEY.verifier], now=lambda: NOW)


def test_racing_requests_never_roll_back(tmp_path: Path) -> None:
    """Of requests that race only one may extend the same state, or the witness would sign two futures of it."""
    made = witness(tmp_path)
    made.add_checkpoint(request(0, 4))
    outcomes: list[int] = []
    barrier = threading.Barrier(8)

    def ask(leaves: list[bytes], size: int) -> None:
        barrier.wait()
        try:
            made.add_checkpoint(request(4, size, leaves))
            outcomes.append(size)
        except OldSize:
            outcomes.append(-1)

    threads = [
        threading.Thread(target=ask, args=([*LEAVES[:4], *[leaf_hash(b"%d" % n)] * 30], 5 + n))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (size,) = [one for one in outcomes if one > 0]
    (watched,) = made.watched()
    assert watched.last is not None
    assert watched.last.size == size


def test_one_process_only(tmp_path: Path) -> None:
    """Two witnesses with one folder could cosign two histories between each other's reading and writing."""
    made = witness(tmp_path)
    with pytest.raises(Misconfigured, match="Another process"):
        witness(tmp_path)
    made.close()
    witness(tmp_path).close()


@settings(max_examples=60)
@given(st.data())
def test_damaged_memory_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A witness that begins anew because its memory is damaged can be made to forget."""
    folder = tmp_path_factory.mktemp("state")
    made = witness(folder)
    made.add_checkpoint(request(0, 4))
    made.close()
    (path,) = folder.glob("*.state")
    stored = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(stored) if data.draw(st.booleans()) else bytes(stored[:at]))
    with pytest.raises(Misconfigured):
        witness(folder)


def test_lost_key_is_not_replaced(tmp_path: Path) -> None:
    """A new key under the old name would make every verifier's pin useless, silently."""
    key = open_key(tmp_path / "witness.key", "w.example.org/3", lambda count: b"k" * count)
    assert open_key(tmp_path / "witness.key", "w.example.org/3", lambda count: b"z" * count) == key
    with pytest.raises(Misconfigured, match="name"):
        open_key(tmp_path / "witness.key", "w.example.org/4", lambda count: b"z" * count)
    made = Witness(key, tmp_path / "state", [LOG_KEY.verifier], now=lambda: NOW)
    made.add_checkpoint(request(0, 4))
    (tmp_path / "witness.key").unlink()
    with pytest.raises(Misconfigured, match="gone"):
        open_key(tmp_path / "witness.key", "w.example.org/3", lambda count: b"z" * count)


@given(st.integers(0, 2**62), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_requests_read_as_written(old: int, proof: list[bytes]) -> None:
    """What a log sends would be another request to the witness than the one it made."""
    made = AddCheckpoint(old, tuple(proof) if old else (), note(5))
    assert parse_add_checkpoint(made.format().encode()) == made


@pytest.mark.parametrize(
    "body",
    [
        b"", b"old 1", b"old 01\n\nx", b"old -1\n\nx", b"old 1\nAAAA\n\nx", b"new 1\n\nx", b"old 0\n" + b"A" * 43 + b"=\n\nx",
        b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\nx", b"\xff", b"old 1\r\n\r\nx", b"old 99999999999999999999\n\nx",
    ],
)  # fmt: skip
def test_other_texts_are_no_requests(body: bytes) -> None:
    """A request read generously could be two requests to two witnesses."""
    with pytest.raises(Refused):
        parse_add_checkpoint(body)


def test_limits_are_reached() -> None:
    """Without a limit one request or one answer fills the memory."""
    with pytest.raises(TooLarge):
        parse_add_checkpoint(b"x" * ((64 << 10) + 1))
    with pytest.raises(TooLarge):
        read_cosignature(b"x" * ((64 << 10) + 1), "x\n", LOG_KEY.cosigning)
    for body in (b"4", b"04\n", b"-1\n", b"4\n\n", b"9" * 30 + b"\n", b""):
        with pytest.raises(Refused):
            parse_size(body)


def test_published_cosignature_is_read(shared: Path) -> None:
    """Answers of witnesses written by others must be understood: this one is of the published vectors."""
    vector = json.loads((shared / "vectors" / "cosignature_mirror.json").read_text())
    text, _, lines = vector["witness_checkpoint"].partition("\n\n")
    key = VerifierKey.parse(vector["witness_vkeys"][0])
    line, seconds = read_cosignature(lines.encode(), text + "\n", key)
    assert line in vector["witness_checkpoint"]
    assert seconds == 1767139200

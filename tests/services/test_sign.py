"""The signer's promises: one key, one history for each log, and a memory that outlives the database."""

from __future__ import annotations

import multiprocessing
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from tallystick.errors import Misconfigured, Tampered
from tallystick.merkle.append import grow
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.cosignature import split_cosignature
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.proof import ProofError, consistency_proof
from tallystick.merkle.tile import reader_over, tiles_of_size
from tallystick.merkle.tree import Frontier, leaf_hash, root_of
from tallystick.services.sign import NOTHING_SIGNED, Mark, Signer, SignerDiffers

AT = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LOG = UUID("00000000-0000-4000-8000-000000000001")
LEAVES = [leaf_hash(b"%d" % number) for number in range(20)]


def mark(size: int, *, rewritten: bool = False) -> Mark:
    leaves = [leaf_hash(b"other"), *LEAVES[1:]] if rewritten else LEAVES
    return Mark(size, Frontier().extend(leaves[:size]).root())


async def prove(old: Mark) -> list[bytes]:
    return honest_proof(old.size, 10)


def honest_proof(old: int, new: int) -> list[bytes]:
    tiles = [(tile, b"".join(LEAVES[: tile.width])) for tile in tiles_of_size(new)]
    return consistency_proof(old, new, reader_over(new, tiles))


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path, instance="log.example.org", random=os.urandom)


@pytest.fixture
def origin(signer: Signer) -> str:
    return signer.origin(LOG)


def advance(signer: Signer, origin: str, old: Mark, new: Mark) -> str:
    note = signer.sign(origin, new, extends=old, at=AT)
    signer.confirm(origin, new, follows=old)
    return note


def test_note_carries_log_signature_and_time(signer: Signer, origin: str) -> None:
    """A checkpoint without a checkable log signature, or without a signed time, proves no quiet hour."""
    note = advance(signer, origin, NOTHING_SIGNED, mark(3))
    log_key = VerifierKey.parse(signer.verifier(origin).format())
    clock = VerifierKey.parse(signer.clock().format())
    opened = open_checkpoint(note, [log_key], origin=origin, witnesses=[clock])
    assert (opened.checkpoint.size, opened.checkpoint.root) == mark(3)
    (cosignature,) = opened.cosigned_by
    timed = split_cosignature(cosignature.signature)
    assert timed is not None
    assert timed[0] == int(AT.timestamp())
    assert log_key.public_key != clock.public_key


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    """A second start with a new key, or a key others can read, would break every old checkpoint's worth."""
    first = Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    second = Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    origin = first.origin(LOG)
    assert first.verifier(origin) == second.verifier(origin)
    key = tmp_path / "keys" / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in key.parent.iterdir()) == ["signing.key"]


def test_lost_key_is_not_replaced(tmp_path: Path, signer: Signer, origin: str) -> None:
    """A new key made silently in the place of a lost one would make all history unverifiable."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    (tmp_path / "keys" / "signing.key").unlink()
    with pytest.raises(Misconfigured, match="backup"):
        Signer.open(tmp_path, instance="log.example.org", random=os.urandom)


def test_damaged_key_is_explained_without_the_secret(tmp_path: Path, signer: Signer) -> None:
    """An unreadable key must stop the start with words, and never be quoted."""
    key = tmp_path / "keys" / "signing.key"
    text = key.read_text()
    key.write_text(text[:-9] + "A" * 8 + "\n")
    with pytest.raises(Misconfigured) as caught:
        Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    assert text.split("+")[-1][:20] not in str(caught.value)


@pytest.mark.parametrize(
    "extends",
    [mark(0), mark(2), mark(4), mark(3, rewritten=True)],
    ids=["from nothing", "shorter", "longer", "other history"],
)
def test_only_the_last_state_is_extended(signer: Signer, origin: str, extends: Mark) -> None:
    """A checkpoint on top of anything but the last signed state is a fork with our signature."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    with pytest.raises(SignerDiffers):
        signer.sign(origin, mark(10), extends=extends, at=AT)


def test_unconfirmed_signature_binds_nobody(signer: Signer, origin: str) -> None:
    """A checkpoint whose transaction failed must not block the log for ever."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    signer.sign(origin, mark(7, rewritten=True), extends=mark(3), at=AT)
    advance(signer, origin, mark(3), mark(5))
    assert signer.state(origin) == mark(5)


def test_state_survives_and_never_goes_backwards(tmp_path: Path, signer: Signer, origin: str) -> None:
    """A late confirmation, from another server on the same folder, must not hide a later one."""
    other = Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    advance(other, origin, mark(3), mark(7))
    signer.confirm(origin, mark(5), follows=mark(3))
    assert signer.state(origin) == mark(7)
    signer.close()
    assert Signer.open(tmp_path, instance="x", random=os.urandom).state(origin) == mark(7)


def test_two_histories_are_noticed(tmp_path: Path, signer: Signer, origin: str) -> None:
    """Two databases signed with one folder are two histories of one log: the second commit must raise."""
    other = Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    advance(other, origin, mark(3), mark(5))
    with pytest.raises(Tampered):
        signer.confirm(origin, mark(5, rewritten=True), follows=mark(3))
    with pytest.raises(Tampered):
        signer.confirm(origin, mark(6, rewritten=True), follows=mark(3))
    assert signer.state(origin) == mark(5)


async def test_adopts_only_what_continues(signer: Signer, origin: str) -> None:
    """After a power cut the state is older than the database: it may go on only along one history."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    with pytest.raises(ProofError):
        await signer.adopt(origin, mark(10, rewritten=True), prove)
    assert signer.state(origin) == mark(3)
    await signer.adopt(origin, mark(10), prove)
    assert signer.state(origin) == mark(10)
    with pytest.raises(SignerDiffers, match="restore"):
        await signer.adopt(origin, mark(9), prove)
    with pytest.raises(SignerDiffers):
        await signer.adopt(origin, mark(10, rewritten=True), prove)


def test_damaged_state_stops_signing(tmp_path: Path, signer: Signer, origin: str) -> None:
    """Taking a damaged state for an empty one would let a log be set back unnoticed."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    (path,) = (tmp_path / "signer").glob("*.state")
    stored = bytearray(path.read_bytes())
    stored[-70] ^= 1
    path.write_bytes(stored)
    with pytest.raises(Misconfigured, match="damaged"):
        signer.sign(origin, mark(4), extends=mark(3), at=AT)
    with pytest.raises(Misconfigured, match="damaged"):
        list(signer.states())


def test_state_of_another_log_is_refused(tmp_path: Path, signer: Signer, origin: str) -> None:
    """A state file put in the place of another one must not be believed."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    (path,) = (tmp_path / "signer").glob("*.state")
    other = signer.origin(UUID(int=2))
    advance(signer, other, NOTHING_SIGNED, mark(1))
    (swapped,) = set((tmp_path / "signer").glob("*.state")) - {path}
    swapped.write_bytes(path.read_bytes())
    signer.close()
    with pytest.raises(Misconfigured):
        signer.state(other)


def test_all_states_are_listed(signer: Signer, origin: str) -> None:
    """A log that start-up does not hear of is a log that can be deleted unnoticed."""
    advance(signer, origin, NOTHING_SIGNED, mark(3))
    second = signer.origin(UUID(int=2))
    advance(signer, second, NOTHING_SIGNED, NOTHING_SIGNED)
    assert dict(signer.states()) == {origin: mark(3), second: NOTHING_SIGNED}


def test_more_logs_than_open_files(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of logs must not run out of file descriptors, nor lose a state when a file is closed."""
    monkeypatch.setattr("tallystick.services.sign.LOGS_REMEMBERED_MAX", 4)
    origins = [signer.origin(UUID(int=number)) for number in range(12)]
    for _ in range(2):
        for origin in origins:
            known = signer.state(origin) or NOTHING_SIGNED
            advance(signer, origin, known, mark(known.size + 1))
    assert {mark.size for _, mark in signer.states()} == {2}
    assert len(list(signer.states())) == 12
    signer.sync()


def _count_up(folder: str, turns: int) -> None:
    signer = Signer.open(Path(folder), instance="log.example.org", random=os.urandom)
    origin = signer.origin(LOG)
    for size in range(1, turns):
        known = signer.state(origin) or NOTHING_SIGNED
        if known.size < size:
            signer._replace(origin, known, Mark(size, root_of([b"%032d" % size])))
        assert (signer.state(origin) or NOTHING_SIGNED).size >= size, "the state went backwards"


def test_two_processes_share_the_folder(tmp_path: Path) -> None:
    """Two servers writing one state at the same time must never set it back or read half of it."""
    Signer.open(tmp_path, instance="log.example.org", random=os.urandom)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count_up, args=(str(tmp_path), 1500)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def test_growth_of_nothing_is_a_heartbeat(signer: Signer, origin: str) -> None:
    """An unchanged log must be signable again with a later time, even an empty one."""
    growth = grow(Frontier(), [])
    empty = Mark(growth.after.size, growth.root)
    assert empty == NOTHING_SIGNED
    advance(signer, origin, NOTHING_SIGNED, empty)
    advance(signer, origin, empty, empty)
    assert signer.state(origin) == NOTHING_SIGNED

"""What was kept outside: rollbacks and rewrites are found wherever the events at hand reach, and said where not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.merkle.append import grow
from tallystick.merkle.keys import SignerKey
from tallystick.merkle.proof import Node, inclusion_proof
from tallystick.merkle.tlog_proof import TlogProof
from tallystick.merkle.tree import Frontier, root_of
from tallystick.verify.export import verify_export
from tallystick.verify.known import Kept
from tallystick.verify.receipt import verify_receipt

from .peer import CLOCK, ORIGIN, SIGNER, PeerLog

KEYS = (SIGNER.verifier, CLOCK.verifier)
STRANGER = SignerKey(ORIGIN, bytes(32))


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(70)


@pytest.fixture(scope="module")
def rewritten() -> PeerLog:
    """Another history of the same log, signed with the log's own key, as after a theft."""
    return PeerLog.of(70, seed=2)


def first(log: PeerLog, size: int) -> PeerLog:
    return PeerLog(log.rows[:size])


def receipt(log: PeerLog, index: int, size: int, signer: SignerKey = SIGNER) -> str:
    part = first(log, size)

    def read(nodes: list[Node]) -> list[bytes]:
        return [root_of(part.hashes[one.index << one.level : (one.index + 1) << one.level]) for one in nodes]

    return TlogProof(index, tuple(inclusion_proof(index, size, read)), part.note(signer=signer)).format()


def kept(*texts: str) -> list[Kept]:
    return [Kept(f"kept {number}", text) for number, text in enumerate(texts, 1)]


@given(data=st.data())
@settings(max_examples=100)
def test_an_older_checkpoint_never_raises_a_false_alarm(data: st.DataObject, log: PeerLog) -> None:
    """Any older checkpoint or receipt of an honest log is either confirmed or said to be out of reach."""
    size = data.draw(st.integers(1, 70))
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    old = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, old - 1))
    export = first(log, size).export(start, end)
    report = verify_export([export], keys=KEYS, kept=kept(first(log, old).note(), receipt(log, index, old)))
    assert (report.verdict, report.violated) == ("proven", [])
    if start == 0 and old <= end:
        assert [line for line in report.proven if "beginning of this log" in line] == [
            f"kept {number}: its {old} events are the beginning of this log" for number in (1, 2)
        ]
    elif start <= index < end:
        assert any(
            f"kept 2: event {index} is the one it was given for" in line
            for line in report.proven + report.not_proven
        ) or any("kept 2: its" in line for line in report.proven)


@given(data=st.data())
@settings(max_examples=100)
def test_a_rewrite_with_the_stolen_key_is_found(
    data: st.DataObject, log: PeerLog, rewritten: PeerLog
) -> None:
    """A full export of a rewritten log never passes beside any older checkpoint or receipt."""
    common = data.draw(st.integers(0, 69))
    size = data.draw(st.integers(common + 1, 70))
    forged = PeerLog(log.rows[:common] + rewritten.rows[common:size])
    old = data.draw(st.integers(common + 1, 70))
    text = data.draw(
        st.sampled_from([first(log, old).note(), receipt(log, data.draw(st.integers(0, old - 1)), old)])
    )
    report = verify_export([forged.export()], keys=KEYS, kept=kept(text))
    assert report.exit_code == 1
    assert ("rollback" if old > size else "rewritten") in {finding.kind for finding in report.violated}


def test_a_rollback_is_found(log: PeerLog) -> None:
    """A log cut back and signed again is honest in itself; an older checkpoint shows what it was."""
    export = first(log, 40).export()
    assert verify_export([export], keys=KEYS).verdict == "proven"
    assert "rolled back" in " ".join(verify_export([export], keys=KEYS).not_proven)
    for text in (log.note(), receipt(log, 3, 70), receipt(log, 65, 70)):
        report = verify_export([export], keys=KEYS, kept=kept(text))
        assert [finding.kind for finding in report.violated] == ["rollback"]


def test_a_rewrite_with_another_key_is_found(log: PeerLog, rewritten: PeerLog) -> None:
    """Whoever signs a forged log with a key of his own is found by a pinned key, and by anything kept."""
    export = rewritten.export(signer=STRANGER)
    assert verify_export([export]).verdict == "proven"
    assert "first use" in " ".join(verify_export([export]).not_proven)
    assert [one.kind for one in verify_export([export], keys=KEYS).violated] == ["checkpoint"]
    for text in (first(log, 30).note(), receipt(log, 3, 30)):
        kinds = {one.kind for one in verify_export([export], kept=kept(text)).violated}
        assert kinds == {"other_key", "rewritten"}


def test_receipts_are_compared_where_checkpoints_cannot_be(log: PeerLog, rewritten: PeerLog) -> None:
    """Where a range does not reach from the beginning to a receipt's size, its own event is still compared."""
    export = log.export(20, 30)
    report = verify_export([export], keys=KEYS, kept=kept(receipt(log, 25, 27), first(log, 27).note()))
    assert report.verdict == "proven"
    assert any("kept 1: its 27 events" in line for line in report.proven)  # [0, 20) came with the proof
    report = verify_export([export], keys=KEYS, kept=kept(receipt(log, 25, 50), receipt(log, 5, 50)))
    assert any("kept 1: event 25 is the one" in line for line in report.proven)
    assert any("kept 2: that this log continues" in line for line in report.not_proven)
    report = verify_export([export], keys=KEYS, kept=kept(receipt(rewritten, 25, 50)))
    assert [finding.kind for finding in report.violated] == ["rewritten"]


def test_what_is_kept_must_be_readable_and_of_this_log(log: PeerLog) -> None:
    """Rubbish and other logs' checkpoints say nothing; a kept checkpoint whose signature is bad is alarming."""
    export = log.export()
    other = SignerKey("elsewhere.example.com/o/x", bytes(32))
    from tallystick.merkle.checkpoint import Checkpoint

    foreign = Checkpoint(other.name, 1, bytes(32)).sign(other).format()
    report = verify_export([export], keys=KEYS, kept=kept("rubbish", foreign, ""))
    assert report.verdict == "proven"
    assert sum("says nothing about this log" in line for line in report.not_proven) == 3
    edited = log.note().replace("\n70\n", "\n60\n")
    assert [one.kind for one in verify_export([export], keys=KEYS, kept=kept(edited)).violated] == ["known"]


def test_a_receipt_is_proven_with_its_event(log: PeerLog) -> None:
    """A receipt, its event's line or leaf and the log's key prove the event's place."""
    line = log.export().split(b"\n")[13]
    text = receipt(log, 12, 60)
    for event in (line, line + b"\n", log.rows[12].leaf or b""):
        report = verify_receipt(text, event=event, keys=KEYS)
        assert (report.exit_code, report.violated) == (0, [])
        assert any("position 12 of the log of 60" in one for one in report.proven)
    assert verify_receipt(text, event=line).exit_code == 2
    assert verify_receipt(text, keys=KEYS).exit_code == 0
    assert any("which event" in one for one in verify_receipt(text, keys=KEYS).not_proven)
    assert verify_receipt("rubbish", keys=KEYS).exit_code == 2


@pytest.mark.parametrize("repetition", range(40))
def test_every_edit_of_a_receipt_or_its_event_is_found(repetition: int, log: PeerLog) -> None:
    """No byte of a receipt or of the event it is for can be changed unnoticed."""
    rng = random.Random(repetition)
    line, text = log.export().split(b"\n")[13], receipt(log, 12, 60)
    at = rng.randrange(len(line))
    edited = line[:at] + bytes([line[at] ^ 1 << rng.randrange(7)]) + line[at + 1 :]
    assert verify_receipt(text, event=edited, keys=KEYS).exit_code == 1
    raw = text.encode()
    at = rng.randrange(len(raw))
    edited = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(5)]) + raw[at + 1 :]
    assert verify_receipt(edited.decode(errors="replace"), event=line, keys=KEYS).exit_code != 0
    assert verify_receipt(receipt(log, 13, 60), event=line, keys=KEYS).exit_code == 1
    assert verify_receipt(receipt(log, 12, 60, STRANGER), event=line, keys=KEYS).exit_code == 1


def test_two_histories_of_one_size_are_a_fork(log: PeerLog, rewritten: PeerLog) -> None:
    """A receipt and a checkpoint of the same size and different roots prove that the log was forked."""
    line = log.export().split(b"\n")[13]
    text = receipt(log, 12, 60)
    assert verify_receipt(text, event=line, keys=KEYS, kept=kept(first(log, 60).note())).exit_code == 0
    report = verify_receipt(text, event=line, keys=KEYS, kept=kept(first(rewritten, 60).note()))
    assert [finding.kind for finding in report.violated] == ["forked"]
    assert grow(Frontier(), log.hashes).root == root_of(log.hashes)

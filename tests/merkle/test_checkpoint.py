"""Checkpoints: the signed size and root of a log."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.merkle.checkpoint import Checkpoint, PinnedKey, open_checkpoint, parse_checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey
from tallystick.merkle.note import sign_note
from tallystick.merkle.tree import EMPTY_ROOT, SIZE_MAX

from . import reference

LOG = SignerKey("log.example/o/1", bytes(range(32)))
NEXT = SignerKey("log.example/o/1", bytes(range(3, 35)))
WITNESS = Cosigner(SignerKey("witness.example", bytes(range(1, 33))), 1_700_000_000)
ROOT = reference.leaf(1)


def test_the_body_is_pinned() -> None:
    """A checkpoint laid out in another way is no checkpoint to any other program."""
    empty = Checkpoint("log.example/o/1", 0, EMPTY_ROOT)
    assert empty.text() == "log.example/o/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30),
    st.integers(1, SIZE_MAX),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=10), max_size=3),
)
@settings(max_examples=100)
def test_checkpoints_read_back(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    """A checkpoint that reads back differently was not the one that was signed."""
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint.text()) == checkpoint
    signed = open_checkpoint(checkpoint.sign(LOG).format(), [LOG.verifier], origin=origin)
    assert signed.checkpoint == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n1\n",
        "origin\n1\n{root}",
        "\n1\n{root}\n",
        "origin\n01\n{root}\n",
        "origin\n+1\n{root}\n",
        "origin\n-1\n{root}\n",
        "origin\n 1\n{root}\n",
        "origin\n1 \n{root}\n",
        "origin\n1.0\n{root}\n",
        "origin\n1_0\n{root}\n",
        "origin\n١\n{root}\n",
        "origin\n9223372036854775808\n{root}\n",
        "origin\n99999999999999999999\n{root}\n",
        "origin\n1\n\n",
        "origin\n1\nAAAA\n",
        "origin\n1\n{root}=\n",
        "origin\n1\n {root}\n",
        "origin\n1\n{root}\n\n",
        "origin\n1\n{root}\n\nextension\n",
        "origin\n1\n{root}\nextension",
        "origin\n0\n{root}\n",
        "ori\rgin\n1\n{root}\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    """A second spelling of a checkpoint could be signed twice, or read as another size."""
    root = Checkpoint("origin", 1, ROOT).text().split("\n")[2]
    with pytest.raises(Refused, match="not a checkpoint"):
        parse_checkpoint(text.format(root=root))
    assert parse_checkpoint(f"origin\n1\n{root}\nextension\n").extensions == ("extension",)


@pytest.mark.parametrize(
    "values",
    [
        ("", 1, ROOT),
        ("a\nb", 1, ROOT),
        ("a", -1, ROOT),
        ("a", SIZE_MAX + 1, ROOT),
        ("a", 1, b""),
        ("a", 0, ROOT),
    ],
)
def test_impossible_checkpoints_are_never_made(values: tuple[str, int, bytes]) -> None:
    """The signer must not be handed a checkpoint nobody can read."""
    with pytest.raises(Refused):
        Checkpoint(*values)
    with pytest.raises(Refused):
        Checkpoint("origin", 1, ROOT, ("",))


def test_opening_separates_log_and_witnesses() -> None:
    """A witness's signature must never stand in for the log's own."""
    note = Checkpoint(LOG.name, 5, ROOT).sign(LOG, WITNESS)
    signed = open_checkpoint(note.format(), [LOG.verifier], origin=LOG.name, witnesses=[WITNESS.verifier])
    assert [one.name for one in signed.signed_by] == [LOG.name]
    assert [one.name for one in signed.cosigned_by] == [WITNESS.name]
    assert open_checkpoint(note.format(), [LOG.verifier]).cosigned_by == ()
    alone = Checkpoint(LOG.name, 5, ROOT).sign(WITNESS)
    with pytest.raises(Refused, match="no log key you trust"):
        open_checkpoint(alone.format(), [LOG.verifier], witnesses=[WITNESS.verifier])


def test_a_checkpoint_of_another_log() -> None:
    """One log's checkpoint must not vouch for another log that uses the same key."""
    note = Checkpoint("log.example/o/2", 5, ROOT).sign(LOG)
    with pytest.raises(Refused, match=r"not of 'log\.example/o/1'"):
        open_checkpoint(note.format(), [LOG.verifier], origin="log.example/o/1")


def test_rotated_keys_hold_up_to_their_size() -> None:
    """A key that was rotated out, perhaps because it was stolen, must not sign later checkpoints."""
    keys = [PinnedKey(LOG.verifier, 100), NEXT.verifier]
    open_checkpoint(Checkpoint(LOG.name, 100, ROOT).sign(LOG).format(), keys)
    open_checkpoint(Checkpoint(LOG.name, 101, ROOT).sign(NEXT).format(), keys)
    for signers in ([LOG], [LOG, NEXT]):
        with pytest.raises(Tampered, match="rotated out at 100"):
            open_checkpoint(Checkpoint(LOG.name, 101, ROOT).sign(*signers).format(), keys)


@given(st.data())
@settings(max_examples=200)
def test_no_changed_bit_opens(data: st.DataObject) -> None:
    """A size, root or signature changed by one bit must not open."""
    raw = bytearray(Checkpoint(LOG.name, 12_345, ROOT).sign(LOG, WITNESS).format().encode())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        signed = open_checkpoint(bytes(raw), [LOG.verifier], witnesses=[WITNESS.verifier])
    except AuditError:
        return
    # A change in a signer's name or id makes it a stranger's, and all the rest is as it was.
    assert (signed.checkpoint.size, signed.checkpoint.root) == (12_345, ROOT)
    assert signed.signed_by
    assert not signed.cosigned_by


def test_a_note_that_is_no_checkpoint() -> None:
    """A log key that also signs other notes must not turn them into checkpoints."""
    with pytest.raises(Refused, match="not a checkpoint"):
        open_checkpoint(sign_note("hello\n", LOG).format(), [LOG.verifier])

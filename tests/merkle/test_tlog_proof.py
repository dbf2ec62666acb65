"""Receipts in the C2SP text format."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import AuditError, Refused, Tampered, TooLarge
from tallystick.merkle.append import grow
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.keys import SignerKey
from tallystick.merkle.tlog_proof import EXTRA_BYTES_MAX, TEXT_CHARS_MAX, TlogProof, parse_tlog_proof
from tallystick.merkle.tree import Frontier

from . import reference

LOG = SignerKey("log.example/o/1", bytes(range(32)))
LEAVES = reference.leaves(100)
HASH = "rzFuy5Go7nrpkhBwKy1HWPMM3eO/YePY54fXRoH5Cm4="


def receipt(before: int, size: int, index: int, extra: bytes | None = None) -> TlogProof:
    growth = grow(Frontier().extend(LEAVES[:before]), LEAVES[before:size])
    note = Checkpoint(LOG.name, size, growth.root).sign(LOG)
    return TlogProof(index, tuple(growth.inclusion_proof(index)), note.format(), extra)


def test_published_texts(shared: Path) -> None:
    """A receipt spelled another way cannot be read by the tools people have."""
    for case in json.loads((shared / "vectors/tlog_proof_format.json").read_text())["marshal"]:
        extra = case["extra"].encode() if case["extra"] else None
        hashes = tuple(b64decode(one) for one in case["hashes"])
        proof = TlogProof(case["index"], hashes, case["checkpoint"], extra)
        assert proof.format() == case["want"]
        assert parse_tlog_proof(case["want"]) == proof


def test_published_bad_texts(shared: Path) -> None:
    """A malformed receipt taken for a good one would be filed as evidence."""
    for text in json.loads((shared / "vectors/tlog_proof_format.json").read_text())["reject"]:
        with pytest.raises(Refused):
            parse_tlog_proof(text)


@given(st.integers(0, 99), st.integers(1, 100), st.binary(min_size=1, max_size=50) | st.none(), st.data())
@settings(max_examples=100)
def test_receipts_verify_offline(before: int, size: int, extra: bytes | None, data: st.DataObject) -> None:
    """A receipt must prove its leaf with nothing but the log's public key."""
    before = min(before, size - 1)
    index = data.draw(st.integers(before, size - 1))
    proof = parse_tlog_proof(receipt(before, size, index, extra).format())
    assert proof == receipt(before, size, index, extra)
    signed = proof.verify(LEAVES[index], [LOG.verifier], origin=LOG.name)
    assert signed.checkpoint.size == size
    with pytest.raises(Tampered):
        proof.verify(reference.leaf(-1), [LOG.verifier])
    with pytest.raises(Tampered):
        replace(proof, index=(index + 1) % 128).verify(LEAVES[index], [LOG.verifier])
    with pytest.raises(Refused):
        proof.verify(LEAVES[index], [LOG.verifier], origin="another.example")


@given(st.data())
@settings(max_examples=200)
def test_no_changed_bit_verifies(data: st.DataObject) -> None:
    """Every byte of a receipt but its unauthenticated extra line counts."""
    text = bytearray(receipt(20, 77, 50).format().encode())
    bit = data.draw(st.integers(0, len(text) * 8 - 1))
    text[bit // 8] ^= 1 << bit % 8
    with pytest.raises((AuditError, UnicodeDecodeError)):
        parse_tlog_proof(text.decode()).verify(LEAVES[50], [LOG.verifier])


@pytest.mark.parametrize(
    "head",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex  0",
        "c2sp.org/tlog-proof@v1\nindex 0 ",
        "c2sp.org/tlog-proof@v1\nindex ٣",
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775808",
        "c2sp.org/tlog-proof@v1\nindex 99999999999999999999",
        "c2sp.org/tlog-proof@v1\nextra \nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AA==",
        "c2sp.org/tlog-proof@v1\nindex 0\nAA==",
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 0",
        "c2sp.org/tlog-proof@v1\r\nindex 0",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH} ",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([HASH] * 65),
    ],
)
def test_malformed_receipts_are_refused(head: str) -> None:
    """A second spelling of a receipt is refused, so that one receipt has one text."""
    with pytest.raises(Refused, match="not a transparency log proof"):
        parse_tlog_proof(f"{head}\n\ncheckpoint\n")


@pytest.mark.parametrize("checkpoint", ["", "\n", "\ncheckpoint\n", "checkpoint"])
def test_receipts_without_a_checkpoint_are_refused(checkpoint: str) -> None:
    """Index and hashes alone do not catch a rewritten prefix."""
    with pytest.raises(Refused, match="holds no checkpoint"):
        parse_tlog_proof(f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\n\n{checkpoint}")


def test_limits_of_a_receipt() -> None:
    """A receipt without end would occupy whoever reads it."""
    assert (
        len(parse_tlog_proof(f"c2sp.org/tlog-proof@v1\nindex 0\n{(HASH + chr(10)) * 64}\nx\n").hashes) == 64
    )
    assert TlogProof(0, (), "x\n", bytes(EXTRA_BYTES_MAX)).extra
    for extra in (b"", bytes(EXTRA_BYTES_MAX + 1)):
        with pytest.raises(Refused, match="extra bytes"):
            TlogProof(0, (), "x\n", extra)
    with pytest.raises(TooLarge):
        parse_tlog_proof("x" * (TEXT_CHARS_MAX + 1))
    with pytest.raises(Refused):
        TlogProof(-1, (), "x\n")

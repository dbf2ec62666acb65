"""Signed notes, keys and witness cosignatures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import AuditError, Misconfigured, Refused, Tampered, TooLarge
from tallystick.merkle.checkpoint import open_checkpoint, parse_checkpoint
from tallystick.merkle.cosignature import join_cosignature, split_cosignature
from tallystick.merkle.keys import COSIGNATURE, Cosigner, SignerKey, VerifierKey
from tallystick.merkle.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Note,
    Signature,
    decode_base64,
    parse_note,
    sign_note,
    verify_note,
)

LOG = SignerKey("log.example/o/1", bytes(range(32)))
OTHER = SignerKey("other.example", bytes(range(1, 33)))
TEXT = "log.example/o/1\n1\nR3jNA0Zk3zYr8r5CkS6TzQMeVYBdoVbVqGNRkcW+8zQ=\n"


def vectors(shared: Path, name: str) -> dict[str, Any]:
    return json.loads((shared / "vectors" / name).read_text())


def test_published_signing(shared: Path) -> None:
    """A note signed differently from Go's does not open in Go."""
    case = vectors(shared, "signed_note.json")["signing"]
    key = SignerKey.parse(case["skey"])
    assert sign_note(case["text"], key).format() == case["want"]
    assert key.format() == case["skey"]


def test_published_notes(shared: Path) -> None:
    """Opening what others refuse, or refusing what they open, splits the view of a log."""
    cases = vectors(shared, "signed_note.json")["open"]
    assert len(cases) == 16
    for case in cases:

        def opened(case: dict[str, Any] = case) -> None:
            verify_note(parse_note(case["note"]), [VerifierKey.parse(text) for text in case["vkeys"]])

        if case["want"] == "ok":
            opened()
        else:
            with pytest.raises(AuditError):
                opened()


def test_published_bad_keys(shared: Path) -> None:
    """A verifier key with a wrong id, type or length would silently never match a signature."""
    for text in vectors(shared, "signed_note.json")["bad_vkeys"]:
        with pytest.raises(Refused):
            VerifierKey.parse(text)


@pytest.mark.parametrize("which", ["witness", "mirror"])
def test_published_cosignatures(shared: Path, which: str) -> None:
    """A cosignature by a real witness must be accepted, and its time read."""
    vector = vectors(shared, "cosignature_mirror.json")
    note = parse_note(vector[f"{which}_checkpoint"])
    [witness] = [VerifierKey.parse(text) for text in vector[f"{which}_vkeys"]]
    assert witness.key_type == COSIGNATURE
    [signature] = verify_note(note, [witness])
    timed = split_cosignature(signature.signature)
    assert timed is not None
    assert timed[0] == 0x69546780
    assert parse_checkpoint(note.text).size == 300
    with pytest.raises(Tampered):
        verify_note(Note(note.text.replace("300", "301"), note.signatures), [witness])
    with pytest.raises(Refused, match="no key you trust"):
        open_checkpoint(vector[f"{which}_checkpoint"], [LOG.verifier], witnesses=[])
    with pytest.raises(Refused, match="no log key"):
        open_checkpoint(vector[f"{which}_checkpoint"], [LOG.verifier], witnesses=[witness])


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs", "Cc")), max_size=60))
@settings(max_examples=100)
def test_notes_read_back(line: str) -> None:
    """A note that reads back differently was not the one that was signed."""
    note = sign_note(f"{line}\n\nlast line\n", LOG, OTHER)
    for raw in (note.format(), note.format().encode()):
        assert parse_note(raw) == note
    assert verify_note(note, [LOG.verifier]) == note.signatures[:1]
    assert verify_note(note, [LOG.verifier, OTHER.verifier]) == note.signatures


@given(st.data())
@settings(max_examples=200)
def test_no_changed_byte_opens(data: st.DataObject) -> None:
    """A note with any bit changed, other than in a signature nobody asked about, must not open."""
    raw = bytearray(sign_note(TEXT, LOG).format().encode())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuditError):
        verify_note(parse_note(bytes(raw)), [LOG.verifier])


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n",
        "text\n",
        "text\n\n",
        "text\n\n— name AAAAAAA=",
        "text\n\nname AAAAAAA=\n",
        "text\n\n- name AAAAAAA=\n",
        "text\n\n— name  AAAAAAA=\n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n— name AAAA AAA=\n",
        "text\n\n— name AAAAAAA\n",
        "text\n\n— name AAAAAAA-\n",
        "text\n\n— na+me AAAAAAA=\n",
        "text\n\n— na\u00a0me AAAAAAA=\n",
        "text\n\n—  AAAAAAA=\n",
        "text\n\n— name\n",
        "te\rxt\n\n— name AAAAAAA=\n",
        "te\txt\n\n— name AAAAAAA=\n",
        "te\0xt\n\n— name AAAAAAA=\n",
        "te\udcffxt\n\n— name AAAAAAA=\n",
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        "text\n\n— name AAAAAAA=\n\n",
        "text\n\n— name AAAAAAA=\nx\n",
    ],
)
def test_malformed_notes_are_refused(raw: bytes | str) -> None:
    """A second spelling of a note is a second note that carries the same signature."""
    with pytest.raises(Refused, match="not a signed note"):
        parse_note(raw)


def test_the_smallest_note() -> None:
    """What stands between the refused cases above is accepted, so none of them fails for another reason."""
    assert parse_note("text\n\n— name AAAAAAA=\n") == Note("text\n", (Signature("name", 0, b"\0"),))


def test_limits_of_a_note() -> None:
    """A note without end would occupy whoever reads it."""
    line = "— name AAAAAAA=\n"
    assert len(parse_note("text\n\n" + line * SIGNATURES_MAX).signatures) == SIGNATURES_MAX
    with pytest.raises(TooLarge, match="101 signatures"):
        parse_note("text\n\n" + line * (SIGNATURES_MAX + 1))
    with pytest.raises(TooLarge, match="limit"):
        parse_note("x" * NOTE_BYTES_MAX + "\n\n" + line)
    with pytest.raises(TooLarge, match="limit"):
        sign_note("x" * NOTE_BYTES_MAX + "\n", LOG)


def test_every_signature_of_a_known_key_is_checked() -> None:
    """A bad signature hidden behind a good one of the same key must still be noticed."""
    note = sign_note(TEXT, LOG)
    bad = Signature(LOG.name, LOG.key_id, b"x" * 64)
    for signatures in ((*note.signatures, bad), (bad, *note.signatures)):
        with pytest.raises(Tampered, match="does not fit"):
            verify_note(Note(TEXT, signatures), [LOG.verifier])


def test_a_signature_counts_once() -> None:
    """A witness that signed twice must not pass for two witnesses."""
    note = sign_note(TEXT, LOG)
    assert verify_note(Note(TEXT, note.signatures * 3), [LOG.verifier]) == note.signatures


def test_unknown_signatures_are_kept() -> None:
    """Dropping signatures of unknown keys would strip witnesses from a checkpoint that passes through."""
    unknown = Signature("witness.example", 7, b"some newer algorithm")
    note = Note(TEXT, (unknown,)).signed_by(LOG)
    assert parse_note(note.format()).signatures[0] == unknown
    assert note.signed_by(LOG) == note
    with pytest.raises(Refused, match=r"witness.example\+00000007"):
        verify_note(Note(TEXT, (unknown,)), [LOG.verifier])


def test_names_and_ids_must_both_match() -> None:
    """A key that shares only its name or only its id with a known one is an unknown key."""
    [signature] = sign_note(TEXT, LOG).signatures
    for stranger in (
        Signature("log.example/o/2", signature.key_id, signature.signature),
        Signature(signature.name, signature.key_id ^ 1, signature.signature),
    ):
        with pytest.raises(Refused, match="no key you trust"):
            verify_note(Note(TEXT, (stranger,)), [LOG.verifier])


def test_a_key_configured_twice() -> None:
    """Two verifiers for one name and id leave open which of them decides."""
    with pytest.raises(Misconfigured, match="2 times"):
        verify_note(sign_note(TEXT, LOG), [LOG.verifier, LOG.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "bad\rreturn\n", "lone \udcff\n"])
def test_texts_that_cannot_be_signed(text: str) -> None:
    """A note nobody can open must not be signed."""
    with pytest.raises(Refused):
        sign_note(text, LOG)
    with pytest.raises(Refused, match="somebody must sign"):
        sign_note("text\n")


@pytest.mark.parametrize("name", ["", "two words", "a+b", "tab\t", "nbsp\u00a0", "line\n"])
def test_names_that_cannot_name_a_key(name: str) -> None:
    """A key with such a name would sign notes that cannot be parsed."""
    with pytest.raises(Refused, match="cannot name a key"):
        SignerKey(name, bytes(32))
    with pytest.raises(Refused, match="cannot name a key"):
        VerifierKey(name, bytes(32))


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=30)
def test_keys_read_back(seed: bytes) -> None:
    """A key that reads back differently locks the log's owner out of their own log."""
    key = SignerKey("log.example", seed)
    assert SignerKey.parse(key.format()) == key
    assert VerifierKey.parse(key.verifier.format()) == key.verifier
    witness = Cosigner(key, 5).verifier
    assert VerifierKey.parse(witness.format()) == witness
    assert witness.key_id != key.key_id


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-4],
        lambda text: text + "A",
        lambda text: text.replace("+", " ", 1),
        lambda text: "x" + text,
        lambda text: text.replace("log.example", "log2.example"),
        lambda text: "a" * 1000 + text,
        lambda text: text + "\n",
    ],
)
def test_malformed_keys_are_refused_without_repeating_them(change: Any) -> None:
    """A mistyped key must be named as such, and a secret one never shown."""
    secret = LOG.format()[-44:]
    for key, parse in ((LOG.format(), SignerKey.parse), (LOG.verifier.format(), VerifierKey.parse)):
        with pytest.raises(Refused) as refused:
            parse(change(key))
        assert secret[5:25] not in str(refused.value)
    assert secret[5:25] not in repr(LOG)
    assert repr(LOG.seed) not in repr(LOG)


def test_a_signer_key_of_another_type() -> None:
    """A witness's key type in a log's signer key would sign what no verifier reads."""
    with pytest.raises(Refused, match="type 0x04"):
        SignerKey.parse("PRIVATE+KEY+name+00000000+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    with pytest.raises(Refused, match="32 bytes"):
        VerifierKey("name", b"short")


def test_cosigning() -> None:
    """A cosignature must bind the time, and count neither as the log's signature nor for another text."""
    cosigner = Cosigner(OTHER, 1_700_000_000)
    note = sign_note(TEXT, LOG).signed_by(cosigner)
    good = verify_note(note, [LOG.verifier, cosigner.verifier])
    assert [one.name for one in good] == [LOG.name, OTHER.name]
    timed = split_cosignature(good[1].signature)
    assert timed is not None
    assert timed[0] == 1_700_000_000
    moved = Signature(OTHER.name, cosigner.key_id, join_cosignature(1_700_000_001, timed[1]))
    with pytest.raises(Tampered):
        verify_note(Note(TEXT, (moved,)), [cosigner.verifier])
    with pytest.raises(Refused):
        verify_note(note, [OTHER.verifier])


@pytest.mark.parametrize("signature", [b"", b"x" * 71, b"x" * 73, b"\xff" * 8 + b"x" * 64])
def test_malformed_cosignatures(signature: bytes) -> None:
    """A cosignature of another form, or of a time beyond 2^63 - 1, is a bad signature and no crash."""
    assert split_cosignature(signature) is None
    cosigner = Cosigner(OTHER, 0)
    if signature:
        with pytest.raises(Tampered):
            verify_note(Note(TEXT, (Signature(OTHER.name, cosigner.key_id, signature),)), [cosigner.verifier])
    for seconds in (-1, 2**63):
        with pytest.raises(ValueError, match="POSIX time"):
            join_cosignature(seconds, b"")


@pytest.mark.parametrize("text", ["AA=", "AB==", "A-==", "AA== ", "AA\n==", "ä", "AA=="[:-1], "=AA="])
def test_base64_has_one_spelling(text: str) -> None:
    """Two spellings of the same bytes would make two texts of one proof."""
    assert decode_base64(text) is None
    assert decode_base64("AA==") == b"\0"


def test_the_room_is_light() -> None:
    """The SDK imports this room everywhere; loading `cryptography` with it would slow every start."""
    code = (
        "import sys, tallystick.merkle.append, tallystick.merkle.tlog_proof, tallystick.merkle.keys;"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone with the bare SDK must be told what to install, not shown an import error."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(Misconfigured, match=r"install tallystick\[server\]"):
        SignerKey("log.example", bytes(32)).sign(b"text")
    with pytest.raises(Misconfigured, match=r"install tallystick\[server\]"):
        VerifierKey("log.example", bytes(32)).verify(b"text", bytes(64))

"""C2SP signed notes: a text and the signatures under it (c2sp.org/signed-note).

This module knows the format and nothing of keys: `keys` has Ed25519, a key service brings its own Signer.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tallystick.errors import Misconfigured, Refused, Tampered, TooLarge

NOTE_BYTES_MAX: Final = 1 << 20
SIGNATURES_MAX: Final = 100  # the same as Go's sumdb/note; the format asks for at least 16
_DASH = "— "
_KEY_NAME: Final = re.compile(r"[^\s+\x00-\x20]+")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class Verifier(Protocol):
    """Checks signatures of one key, known by its name and 32-bit id."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> int: ...
    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (without the key id) is this key's over `text`; never raises for bad input."""
        ...


class Signer(Protocol):
    """Signs with one key, known by its name and 32-bit id."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> int: ...
    def sign(self, text: bytes) -> bytes:
        """Return the signature over `text`, without the key id."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: the key's name and 32-bit id, and the bytes after the id."""

    name: str
    key_id: int
    signature: bytes

    def line(self) -> str:
        """Return the line as it stands in a note, newline included."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id.to_bytes(4, 'big') + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text ending in a newline and the signatures under it, those of unknown keys included, in order.

    A parsed note is not a verified note: trust `text` only after `verify_note`.
    """

    text: str
    signatures: tuple[Signature, ...]

    def format(self) -> str:
        """Return the note as `parse_note` reads it."""
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)

    def signed_by(self, *signers: Signer) -> Note:
        """Return the note with the signers' signatures added, replacing earlier ones of the same keys."""
        new = [Signature(key.name, key.key_id, key.sign(self.text.encode())) for key in signers]
        replaced = {(one.name, one.key_id) for one in new}
        kept = [old for old in self.signatures if (old.name, old.key_id) not in replaced]
        return Note(self.text, (*kept, *new))


def sign_note(text: str, *signers: Signer) -> Note:
    """Return `text` signed by each signer; raises Refused when it cannot be a note's text or a name is bad."""
    if not _decode(text).endswith("\n") or not signers:
        raise _malformed("its text must end in a newline, and somebody must sign it")
    for signer in signers:
        check_key_name(signer.name)
    note = Note(text, ()).signed_by(*signers)
    if len(note.format().encode()) > NOTE_BYTES_MAX:
        raise TooLarge(f"the note is over the limit of {NOTE_BYTES_MAX} bytes", rule="note_size")
    return note


def parse_note(raw: bytes | str) -> Note:
    """Read a signed note without checking its signatures.

    Raises TooLarge over 1 MiB or 100 signatures, Refused for anything the format does not allow; a note
    has one spelling only, so base64 must be canonical too.
    """
    text, block = _split(_decode(raw))
    lines = block.removesuffix("\n").split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise TooLarge(
            f"the note has {len(lines)} signatures, the limit is {SIGNATURES_MAX}", rule="note_size"
        )
    return Note(text, tuple(_parse_signature(line) for line in lines))


def _decode(raw: bytes | str) -> str:
    try:
        encoded = raw.encode() if isinstance(raw, str) else raw
        if len(encoded) > NOTE_BYTES_MAX:
            raise TooLarge(
                f"the note has {len(encoded)} bytes, the limit is {NOTE_BYTES_MAX}", rule="note_size"
            )
        note = encoded.decode()
    except UnicodeError:
        raise _malformed("it is not UTF-8") from None
    if _CONTROL.search(note):
        raise _malformed("it holds a control character")
    return note


def _split(note: str) -> tuple[str, str]:
    head, blank, block = note.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise _malformed("a blank line and signature lines, each with a newline, must end it")
    return head + "\n", block


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    raw = decode_base64(encoded)
    if not line.startswith(_DASH) or not space or raw is None or len(raw) < 5 or not is_key_name(name):
        raise _malformed(f"{line[:80]!r} is not a signature line")
    return Signature(name, int.from_bytes(raw[:4], "big"), raw[4:])


def verify_note(note: Note, verifiers: Iterable[Verifier]) -> tuple[Signature, ...]:
    """Return the signatures of known keys, all of them good, the first of each key.

    Raises Tampered when a signature that names a known key is not that key's, Refused (rule `unknown_key`)
    when no known key signed, Misconfigured when two verifiers share the name and id of a signature.
    """
    known: dict[tuple[str, int], list[Verifier]] = {}
    for verifier in verifiers:
        known.setdefault((verifier.name, verifier.key_id), []).append(verifier)
    text = note.text.encode()
    good: dict[tuple[str, int], Signature] = {}
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key in known:
            _check(signature, known[key], text)
            good.setdefault(key, signature)
    if not good:
        names = ", ".join(sorted({f"{one.name}+{one.key_id:08x}" for one in note.signatures})) or "nobody"
        raise Refused(f"no key you trust signed this note; it is signed by {names[:500]}", rule="unknown_key")
    return tuple(good.values())


def _check(signature: Signature, verifiers: Sequence[Verifier], text: bytes) -> None:
    label = f"{signature.name}+{signature.key_id:08x}"
    if len(verifiers) > 1:
        raise Misconfigured(
            f"the key {label} is configured {len(verifiers)} times: keep one", rule="duplicate_key"
        )
    if not verifiers[0].verify(text, signature.signature):
        raise Tampered(f"the signature of {label} does not fit this text", rule="signature")


def is_key_name(name: str) -> bool:
    """Tell whether `name` may name a key: not empty, no Unicode space, no plus, no control character."""
    return _KEY_NAME.fullmatch(name) is not None


def check_key_name(name: str) -> str:
    """Return `name`; raises Refused when it may not name a key."""
    if not is_key_name(name):
        raise Refused(
            f"{name[:80]!r} cannot name a key: it is empty or holds a space or a plus", rule="key_name"
        )
    return name


def encode_base64(raw: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4), the one alphabet of all C2SP texts."""
    return base64.b64encode(raw).decode()


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of standard base64 in its one canonical spelling, None for anything else."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return raw if encode_base64(raw) == text else None


def _malformed(why: str) -> Refused:
    return Refused(f"this is not a signed note (c2sp.org/signed-note): {why}", rule="note")

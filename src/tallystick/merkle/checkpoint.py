"""C2SP checkpoints: a log's signed size and root (c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import Refused, Tampered
from tallystick.merkle.note import (
    Note,
    Signature,
    Signer,
    Verifier,
    decode_base64,
    encode_base64,
    parse_note,
    sign_note,
    verify_note,
)
from tallystick.merkle.tree import EMPTY_ROOT, HASH_BYTES, SIZE_MAX

DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile("[\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its origin, its size in leaves and its RFC 6962 root of 32 bytes.

    `extensions` are opaque further lines; this product writes none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or any(
            not line or _CONTROL.search(line) for line in (self.origin, *self.extensions)
        ):
            raise _malformed("its origin or an extension line is empty or holds a control character")
        if not 0 <= self.size <= SIZE_MAX:
            raise _malformed(f"its size is not between 0 and {SIZE_MAX}")
        if len(self.root) != HASH_BYTES:
            raise _malformed(f"its root is not a hash of {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _malformed("its size is 0 but its root is not that of the empty log")

    def text(self) -> str:
        """Return the body to be signed: origin, size, root and extensions, a line each."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "\n".join(lines) + "\n"

    def sign(self, *signers: Signer) -> Note:
        """Return the checkpoint as a note signed by each signer."""
        return sign_note(self.text(), *signers)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's body, the text of its note; raises Refused unless it is spelled canonically."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "":
        raise _malformed("it needs three lines, each ending in a newline")
    origin, size, root, *extensions = lines
    if not DECIMAL.fullmatch(size):
        raise _malformed("its size is not a plain decimal number")
    return Checkpoint(origin, int(size), decode_base64(root) or b"", tuple(extensions))


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A log key a verifier trusts for checkpoints of up to `size_max` leaves, where it was rotated out."""

    verifier: Verifier
    size_max: int = SIZE_MAX


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose log signature was checked, with the note it came in.

    `signed_by` are the log's signatures, `cosigned_by` those of the witnesses that were asked for; all good.
    """

    checkpoint: Checkpoint
    note: Note
    signed_by: tuple[Signature, ...]
    cosigned_by: tuple[Signature, ...]


def open_checkpoint(
    raw: bytes | str,
    keys: Sequence[Verifier | PinnedKey],
    *,
    origin: str | None = None,
    witnesses: Sequence[Verifier] = (),
) -> SignedCheckpoint:
    """Read a checkpoint and check that the log signed it with one of `keys`.

    Signatures of `witnesses` are checked too and listed; a witness alone is not enough. Raises Refused when
    it is malformed, of another origin (rule `origin`) or signed by no known key (rule `unknown_key`), and
    Tampered when a known key's signature is bad or its key was rotated out before this size.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if origin is not None and checkpoint.origin != origin:
        raise Refused(
            f"this checkpoint is of {checkpoint.origin[:200]!r}, not of {origin[:200]!r}", rule="origin"
        )
    pinned = [key if isinstance(key, PinnedKey) else PinnedKey(key) for key in keys]
    good = verify_note(note, [*(key.verifier for key in pinned), *witnesses])
    log_keys = {(key.verifier.name, key.verifier.key_id): key.size_max for key in pinned}
    signed = tuple(one for one in good if (one.name, one.key_id) in log_keys)
    if not signed:
        raise Refused("witnesses signed this checkpoint, but no log key you trust did", rule="unknown_key")
    for one in signed:
        if checkpoint.size > (limit := log_keys[one.name, one.key_id]):
            raise Tampered(
                f"the key {one.name}+{one.key_id:08x} was rotated out at {limit} leaves, "
                f"yet it signed {checkpoint.size}",
                rule="retired_key",
            )
    cosigned = tuple(one for one in good if (one.name, one.key_id) not in log_keys)
    return SignedCheckpoint(checkpoint, note, signed, cosigned)


def _malformed(why: str) -> Refused:
    return Refused(f"this is not a checkpoint (c2sp.org/tlog-checkpoint): {why}", rule="checkpoint")

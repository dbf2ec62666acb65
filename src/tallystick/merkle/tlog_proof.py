"""Receipts: a self-contained, offline-verifiable proof in the C2SP text format (c2sp.org/tlog-proof)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import Refused, TooLarge
from tallystick.merkle.checkpoint import DECIMAL, PinnedKey, SignedCheckpoint, open_checkpoint
from tallystick.merkle.note import Verifier, decode_base64, encode_base64
from tallystick.merkle.proof import PROOF_HASHES_MAX, verify_inclusion
from tallystick.merkle.tree import HASH_BYTES, SIZE_MAX

HEADER: Final = "c2sp.org/tlog-proof@v1"
EXTRA_BYTES_MAX: Final = 1 << 16
TEXT_CHARS_MAX: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class TlogProof:
    """That leaf `index` is in the log whose signed `checkpoint` is included, word for word.

    `extra` are opaque bytes that nothing authenticates; None when there are none.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= SIZE_MAX:
            raise _malformed(f"its index is not between 0 and {SIZE_MAX}")
        if len(self.hashes) > PROOF_HASHES_MAX or any(len(one) != HASH_BYTES for one in self.hashes):
            raise _malformed(f"its hashes are not at most {PROOF_HASHES_MAX} of {HASH_BYTES} bytes")
        if not self.checkpoint.endswith("\n") or self.checkpoint.startswith("\n"):
            raise _malformed("it holds no checkpoint")
        if self.extra is not None and not 0 < len(self.extra) <= EXTRA_BYTES_MAX:
            raise _malformed(f"its extra bytes are not 1 to {EXTRA_BYTES_MAX}")

    def format(self) -> str:
        """Return the text, to be kept under a name ending in `.tlog-proof`."""
        extra = "" if self.extra is None else f"extra {encode_base64(self.extra)}\n"
        return format_tlog_proof(self.index, map(hash_line, self.hashes), self.checkpoint, extra)

    def verify(
        self,
        leaf_hash: bytes,
        keys: Sequence[Verifier | PinnedKey],
        *,
        origin: str | None = None,
        witnesses: Sequence[Verifier] = (),
    ) -> SignedCheckpoint:
        """Return the checkpoint that holds the 32-byte `leaf_hash`, once signature and proof are checked.

        Raises what `open_checkpoint` raises, and ProofError when the leaf is not at `index` in that log.
        """
        signed = open_checkpoint(self.checkpoint, keys, origin=origin, witnesses=witnesses)
        verify_inclusion(self.index, signed.checkpoint.size, leaf_hash, self.hashes, signed.checkpoint.root)
        return signed


def hash_line(one: bytes) -> str:
    """Return a hash as it stands in the text; receipts of one batch share most of theirs."""
    return encode_base64(one) + "\n"


def format_tlog_proof(index: int, hash_lines: Iterable[str], checkpoint: str, extra_line: str = "") -> str:
    """Return the text of a proof out of its finished lines, for whoever writes many at once."""
    return f"{HEADER}\n{extra_line}index {index}\n{''.join(hash_lines)}\n{checkpoint}"


def parse_tlog_proof(text: str) -> TlogProof:
    """Read a receipt without checking it; raises Refused unless it is spelled as `format` spells it.

    The included checkpoint is kept as it is and only read by `verify`. Raises TooLarge over 2 MiB.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise TooLarge(
            f"the proof has {len(text)} characters, the limit is {TEXT_CHARS_MAX}", rule="proof_size"
        )
    head, blank, checkpoint = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER or not blank:
        raise _malformed(f"its first line must be {HEADER} and a blank line must follow the hashes")
    extra = _field(lines.pop(0), "extra ") if lines and lines[0].startswith("extra ") else None
    number = _field(lines.pop(0), "index ") if lines else ""
    if not DECIMAL.fullmatch(number):
        raise _malformed("it has no line with a plain decimal index")
    hashes = tuple(_base64(line) for line in lines[: PROOF_HASHES_MAX + 1])
    return TlogProof(int(number), hashes, checkpoint, None if extra is None else _base64(extra))


def _field(line: str, name: str) -> str:
    return line[len(name) :] if line.startswith(name) else ""


def _base64(text: str) -> bytes:
    raw = decode_base64(text)
    if raw is None:
        raise _malformed(f"{text[:80]!r} is not base64")
    return raw


def _malformed(why: str) -> Refused:
    return Refused(f"this is not a transparency log proof (c2sp.org/tlog-proof): {why}", rule="tlog_proof")

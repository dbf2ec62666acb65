"""C2SP tlog-witness: the text a log sends to a witness, and the lines a witness answers with (c2sp.org/tlog-witness)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import Refused, Tampered, TooLarge
from tallystick.merkle.checkpoint import DECIMAL
from tallystick.merkle.cosignature import split_cosignature
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.note import Note, Signature, decode_base64, encode_base64, parse_note
from tallystick.merkle.tree import HASH_BYTES, SIZE_MAX

PROOF_LINES_MAX: Final = 63
REQUEST_BYTES_MAX: Final = 64 << 10
ANSWER_BYTES_MAX: Final = 64 << 10
SIZE_TYPE: Final = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """What a log sends: the size the witness is thought to have, the proof from there, and the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: str

    def format(self) -> str:
        """Return the request's body."""
        lines = "".join(encode_base64(one) + "\n" for one in self.proof)
        return f"old {self.old}\n{lines}\n{self.checkpoint}"


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Read a request without checking signature or proof; raises Refused (TooLarge over 64 KiB) for any other text."""
    if len(body) > REQUEST_BYTES_MAX:
        raise TooLarge(
            f"the request has {len(body)} bytes, the limit is {REQUEST_BYTES_MAX}", rule="request_size"
        )
    try:
        head, blank, checkpoint = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    first, *lines = head.split("\n")
    size = first.removeprefix("old ")
    if not blank or not first.startswith("old ") or not DECIMAL.fullmatch(size) or int(size) > SIZE_MAX:
        raise _malformed(
            "its first line must be 'old' and a plain decimal number, and a blank line must follow the proof"
        )
    if len(lines) > PROOF_LINES_MAX:
        raise _malformed(f"its proof has {len(lines)} lines, the limit is {PROOF_LINES_MAX}")
    proof = tuple(decode_base64(line) or b"" for line in lines)
    if any(len(one) != HASH_BYTES for one in proof):
        raise _malformed("a line of its proof is not a hash of 32 bytes in base64")
    if int(size) == 0 and proof:
        raise _malformed("a proof from size 0 must be empty")
    return AddCheckpoint(int(size), proof, checkpoint)


def parse_size(body: bytes) -> int:
    """Read the size a witness says it has (status 409); raises Refused for anything else."""
    text = body[:64].decode("ascii", "replace")
    if not text.endswith("\n") or not DECIMAL.fullmatch(text[:-1]):
        raise _malformed("its body is not a size and a newline")
    return int(text[:-1])


def format_cosignatures(signatures: Sequence[Signature]) -> str:
    """Return the lines a witness answers with."""
    return "".join(one.line() for one in signatures)


def read_cosignature(body: bytes, text: str, witness: VerifierKey) -> tuple[str, int]:
    """Return the witness's line in its answer for the checkpoint body `text`, and the POSIX seconds it states.

    Lines of keys other than `witness` are ignored. Raises Refused when the answer holds no line of its key or cannot be
    read, Tampered when the line of its key does not sign `text`.
    """
    if len(body) > ANSWER_BYTES_MAX:
        raise TooLarge(
            f"the answer has {len(body)} bytes, the limit is {ANSWER_BYTES_MAX}", rule="answer_size"
        )
    try:
        note = parse_note(text + "\n" + body.decode())
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    if note.text != text:
        raise _malformed("it holds more than signature lines")
    for one in note.signatures:
        if (one.name, one.key_id) == (witness.name, witness.key_id):
            timed = split_cosignature(one.signature)
            if timed is None or not witness.verify(text.encode(), one.signature):
                raise Tampered(
                    f"the cosignature of {witness.name} does not fit this checkpoint", rule="signature"
                )
            return one.line(), timed[0]
    raise Refused(
        f"the answer holds no cosignature of the key {witness.name}+{witness.key_id:08x}", rule="unknown_key"
    )


def with_lines(note: str, lines: Sequence[str]) -> str:
    """Return a signed note with further signature lines under it, those it has already left out."""
    parsed = parse_note(note)
    known = {(one.name, one.key_id) for one in parsed.signatures}
    more = parse_note(parsed.text + "\n" + "".join(lines)).signatures if lines else ()
    return Note(
        parsed.text, (*parsed.signatures, *(one for one in more if (one.name, one.key_id) not in known))
    ).format()


def _malformed(why: str) -> Refused:
    return Refused(f"this is not what c2sp.org/tlog-witness describes: {why}", rule="witness")

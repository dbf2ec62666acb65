"""One full line of an export: hashed, resealed, rendered again, and compared byte for byte."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from msgspec import UNSET, Raw

from tallystick.errors import Tampered
from tallystick.event.leaf import ERASED, VERSION, Leaf, write_leaf
from tallystick.event.unseal import unseal
from tallystick.verify.layout import FullLine, Line
from tallystick.verify.readable import readable
from tallystick.verify.reseal import (
    SEED_BYTES,
    decode_seed,
    sealed_digest,
)

_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, IndexError, RecursionError)


def check_full_line(raw: bytes, line: Line, organization: str) -> tuple[bytes, Tampered | None]:
    """Return the leaf hash of a full line and what does not follow from that leaf and its opening, if anything.

    `raw` is the line without its newline, `line` what it decodes to. The complaint's rule is `sealed`,
    `rendering` or `line`. Raises Tampered when there is no leaf to hash.
    """
    leaf = line.leaf
    if not isinstance(leaf, Leaf) or leaf.v != VERSION:
        raise Tampered("the line has neither bare hashes nor an event of a version known here", rule="line")
    written = write_leaf(leaf)
    leaf_hash = sha256(b"\x00" + written).digest()
    opening, seed = line.opening, line.seed
    if not isinstance(opening, dict) or seed is UNSET:
        return leaf_hash, Tampered("the line lacks its opening or its seed", rule="line")
    try:
        _check_seal(leaf, written, opening, seed)
        event = readable(leaf, opening, line.position, organization)
        again = _encode(FullLine(line.position, event, Raw(written), opening, seed))
    except Tampered as error:
        return leaf_hash, error
    except _UNREADABLE as error:
        return leaf_hash, Tampered(f"the opening cannot be read: {error}", rule="line")
    return leaf_hash, None if again == raw else Tampered(_difference(line, _encode(event)), rule="rendering")


def _check_seal(leaf: Leaf, written: bytes, opening: dict[str, Raw], seed: str | dict[str, str]) -> None:
    if isinstance(seed, dict):
        unseal(written, _encode(opening), _encode(seed))
        return
    salted = decode_seed(seed)
    if len(salted) != SEED_BYTES or ERASED in opening:
        raise Tampered(
            f"the seed is not {SEED_BYTES} bytes, or was kept although values were erased", rule="sealed"
        )
    if sealed_digest(opening, salted) != leaf.sealed:
        raise Tampered("a sealed value or the seed is not the one that was sealed", rule="sealed")


def _difference(line: Line, event: bytes) -> str:
    if isinstance(line.event, Raw) and bytes(line.event) != event:
        return "the readable event does not say what its leaf and opening say"
    return "the line is not spelled as Tallystick spells it: something was added, repeated or moved"

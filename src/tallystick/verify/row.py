"""One full line of an export: hashed, resealed, rendered again, and compared byte for byte."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from msgspec import UNSET, Raw

from tallystick.errors import Tampered
from tallystick.verify.layout import FullLine, Line
from tallystick.verify.leaf import Leaf, write_leaf
from tallystick.verify.readable import readable
from tallystick.verify.reseal import (
    ERASED,
    SEED_BYTES,
    decode_seed,
    sealed_digest,
    sealed_digest_after_erasure,
)

_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, IndexError, RecursionError)


def check_full_line(raw: bytes, line: Line, organization: str) -> tuple[bytes, Tampered | None]:
    """Return the leaf hash of a full line and what does not follow from that leaf and its opening, if anything.

    `raw` is the line without its newline, `line` what it decodes to. The complaint's rule is `seal`,
    `rendering` or `line`. Raises Tampered when there is no leaf to hash.
    """
    leaf = line.leaf
    if not isinstance(leaf, Leaf):
        raise Tampered("the line has neither an event in full nor bare hashes", rule="line")
    written = write_leaf(leaf)
    leaf_hash = sha256(b"\x00" + written).digest()
    opening, seed = line.opening, line.seed
    if not isinstance(opening, dict) or seed is UNSET:
        return leaf_hash, Tampered("the line lacks its opening or its seed", rule="line")
    try:
        if _sealed(opening, seed) != leaf.sealed:
            return leaf_hash, Tampered(
                "a sealed value or the seed is not the one that was sealed", rule="seal"
            )
        event = readable(leaf, opening, line.position, organization)
        again = _encode(FullLine(line.position, event, Raw(written), opening, seed))
    except _UNREADABLE as error:
        return leaf_hash, Tampered(f"the opening cannot be read: {error}", rule="line")
    return leaf_hash, None if again == raw else Tampered(_difference(line, _encode(event)), rule="rendering")


def _sealed(opening: dict[str, Raw], seed: str | dict[str, str]) -> str:
    if isinstance(seed, dict):
        return sealed_digest_after_erasure(opening, seed)
    salted = decode_seed(seed)
    if len(salted) != SEED_BYTES or ERASED in opening:
        raise ValueError(f"the seed is not {SEED_BYTES} bytes, or was kept although values were erased")
    return sealed_digest(opening, salted)


def _difference(line: Line, event: bytes) -> str:
    if isinstance(line.event, Raw) and bytes(line.event) != event:
        return "the readable event does not say what its leaf and opening say"
    return "the line is not spelled as Tallystick spells it: something was added, repeated or moved"

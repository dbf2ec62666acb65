"""One full line of an export: hashed, resealed, rendered again, and compared byte for byte."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from msgspec import UNSET

from tallystick.errors import Tampered
from tallystick.event.leaf import ERASED, VERSION, Leaf, write_leaf
from tallystick.event.unseal import unseal
from tallystick.verify.layout import FullLine, Line, ProofLine, leaf_of
from tallystick.verify.readable import Readable, readable
from tallystick.verify.reseal import sealed_digest, seed_of

_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, IndexError, RecursionError)


def check_full_line(
    raw: bytes, line: Line, organization: str, *, readable_beside: bool = False
) -> tuple[bytes, Tampered | None]:
    """Return the leaf hash of a full line and what does not follow from that leaf and its opening, if anything.

    `raw` is the line without its newline, `line` what it decodes to; `readable_beside` tells that it is of a proof, whose
    events are readable in another file. The complaint's rule is `sealed`,
    `rendering` or `line`. Raises Tampered when there is no leaf to hash.
    """
    leaf, opening, seed = line.leaf, line.opening, line.seed
    if leaf is UNSET or leaf.v != VERSION:
        raise Tampered("the line has neither bare hashes nor an event of a version known here", rule="line")
    if opening is UNSET or seed is UNSET:
        return _hash_of(leaf), Tampered("the line lacks its opening or its seed", rule="line")
    try:
        event = readable(leaf, opening, line.position, organization)
        again = _encode(
            ProofLine(line.position, opening, seed, leaf)
            if readable_beside
            else FullLine(line.position, event, opening, seed, leaf)
        )
        if again != raw:
            return _hash_of(leaf), Tampered(
                _difference(line, None if readable_beside else event), rule="rendering"
            )
        if isinstance(seed, dict):
            unseal(leaf_of(again), _encode(opening), _encode(seed))
        elif sealed_digest(opening, seed_of(seed)) != leaf.sealed or ERASED in opening:
            return _hash_of(leaf), Tampered("a sealed value or the seed was changed", rule="sealed")
    except Tampered as error:
        return _hash_of(leaf), error
    except _UNREADABLE as error:
        return _hash_of(leaf), Tampered(f"the opening cannot be read: {error}", rule="line")
    return sha256(b"\x00" + leaf_of(again)).digest(), None


def _hash_of(leaf: Leaf) -> bytes:
    return sha256(b"\x00" + write_leaf(leaf)).digest()


def _difference(line: Line, event: Readable | None) -> str:
    if event is None:
        return "the line is not spelled as Tallystick spells it: something was added, repeated or moved"
    if line.event is UNSET or bytes(line.event) != _encode(event):
        return "the readable event does not say what its leaf and opening say"
    return "the line is not spelled as Tallystick spells it: something was added, repeated or moved"

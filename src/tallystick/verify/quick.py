"""The quick road through an export: many lines at once, in which everything is as it must be.

None sends a block on the careful road (`export`), which finds out what is wrong and says it. Both accept the same
blocks; a test holds them to that. About sixteen microseconds an event are all there is: one decoding and one
encoding in C, hashing written out where it happens, and one comparison of bytes for the whole block.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from tallystick.errors import Refused, Tampered
from tallystick.event.leaf import VERSION, LeafProducer
from tallystick.verify.beside import EventRow
from tallystick.verify.layout import (
    LEAF_AT,
    LEAF_KEY,
    FullLine,
    Line,
    ProofLine,
    bare_line,
    opening_of,
    read_bare,
)
from tallystick.verify.readable import readable
from tallystick.verify.records import RECORDS
from tallystick.verify.reseal import sealed_digest, seed_of

PART_BYTES: Final = 1 << 16

_read_lines = msgspec.json.Decoder(Line).decode_lines
_encode = msgspec.json.Encoder().encode
_NOT_QUICK = (
    msgspec.MsgspecError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError, Refused,
    Tampered,
)  # fmt: skip


class Source(NamedTuple):
    """What all lines of an export have in common.

    `filtered` tells whether bare hashes may stand in it, `readable_beside` that its readable form is a file of its own.
    """

    origin: str
    organization: str
    filtered: bool
    readable_beside: bool = False


class Block(NamedTuple):
    """Lines that are all right in themselves: leaf hashes of positions [start, end), and the times at both ends.

    `lines` counts lines, `events` and `bare` positions in full and as hashes; the times are "" without an event. `rows`
    are the events of a proof, to be compared with the file beside it, `numbers` those of events that have one.
    """

    start: int
    end: int
    first_received_at: str
    last_received_at: str
    lines: int
    events: int
    bare: int
    leaf_hashes: list[bytes]
    rows: list[EventRow]
    numbers: list[LeafProducer]


def check_block(source: Source, block: bytes) -> Block | None:
    """Return what whole lines of events prove by themselves, None when any of them needs a closer look."""
    found: Block | None = None
    try:
        for part in _parts(block):
            found = _follow(found, _check(source, part, _read_lines(part)))
            if found is None:
                return None
    except _NOT_QUICK:
        return None
    return found


def _parts(block: bytes) -> Iterator[bytes]:
    """Cut a block after lines so that what is decoded at once fits the processor's cache."""
    first = 0
    while first < len(block):
        end = block.find(b"\n", first + PART_BYTES) + 1 or len(block)
        yield block[first:end]
        first = end


def _follow(before: Block | None, after: Block | None) -> Block | None:
    if before is None or after is None:
        return after
    if before.end != after.start or (after.events and after.first_received_at < before.last_received_at):
        return None
    return Block(
        before.start,
        after.end,
        before.first_received_at or after.first_received_at,
        after.last_received_at or before.last_received_at,
        before.lines + after.lines,
        before.events + after.events,
        before.bare + after.bare,
        before.leaf_hashes + after.leaf_hashes,
        before.rows + after.rows,
        before.numbers + after.numbers,
    )


def _check(source: Source, block: bytes, lines: list[Line]) -> Block | None:
    origin, organization, filtered, readable_beside = source
    start = position = lines[0].position
    first, last, events = "", "", 0
    leaf_hashes: list[bytes] = []
    written: list[bytes] = []
    rows: list[EventRow] = []
    numbers: list[LeafProducer] = []
    for line in lines:
        # A line of another position than expected differs from what is written here.
        leaf, opening, seed = line.leaf, line.opening, line.seed
        if leaf is UNSET or opening is UNSET or not isinstance(seed, str):
            if not filtered:
                return None
            hashes = read_bare(line)
            written.append(bare_line(position, hashes)[:-1])
            leaf_hashes += hashes
            position += len(hashes)
            continue
        if leaf.origin != origin or leaf.received_at < last or leaf.v != VERSION or leaf.action in RECORDS:
            return None
        again = _encode(
            ProofLine(position, opening, seed, leaf)
            if readable_beside
            else FullLine(position, readable(leaf, opening, position, organization), opening, seed, leaf)
        )
        if sealed_digest(opening, seed_of(seed)) != leaf.sealed:
            return None
        leaf_at = again.rindex(LEAF_KEY) + LEAF_AT
        leaf_bytes = again[leaf_at:-1]
        leaf_hash = sha256(b"\x00" + leaf_bytes).digest()
        leaf_hashes.append(leaf_hash)
        written.append(again)
        if readable_beside:
            rows.append(EventRow(position, leaf_bytes, opening_of(again, position, leaf_at), leaf_hash))
        if leaf.producer is not None:
            numbers.append(leaf.producer)
        last = leaf.received_at
        first = first or last
        events += 1
        position += 1
    written.append(b"")
    if b"\n".join(written) != block:
        return None
    bare = position - start - events
    return Block(start, position, first, last, len(lines), events, bare, leaf_hashes, rows, numbers)

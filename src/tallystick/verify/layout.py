"""The lines of a JSONL export, written and read by the same declarations (docs/reference/export-format.md).

A header, then every position of the range in order, then a trailer. Every line has one spelling only: a
verifier builds it again from its parts and compares bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from tallystick.errors import Refused, Tampered
from tallystick.event.leaf import Leaf, read_leaf
from tallystick.merkle.note import decode_base64, encode_base64
from tallystick.merkle.tree import HASH_BYTES, split_hashes
from tallystick.verify.readable import Readable, readable
from tallystick.verify.reseal import SEED_BYTES, read_opening

FORMAT: Final = "tallystick-export"
PROOF_ENDING: Final = ".proof.jsonl"  # what the name of a proof has behind the name of the file it is of
VERSION: Final = 1
BARE_MAX: Final = 256
# The largest event is 256 KiB and stands in its line twice, beside a leaf of up to 64 KiB.
LINE_BYTES_MAX: Final = 4 << 20
HEADER_START: Final = b'{"format":"tallystick-export","version":'
PROOF_START: Final = b'{"format":"tallystick-proof","version":'
TRAILER_START: Final = b'{"events":'
RECORD_START: Final = b'{"record":'


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line: which log, which positions [start, end) of its first `size`, and their proof.

    `filter` is the canonical text of the filter that chose the full rows, "" when all are meant to be full.
    `left` and `right` are the base64 roots of the subtrees over [0, start) and [end, size); `checkpoint` is
    the signed note of `size` leaves, `keys` the verifier keys that check it: the log's and its clock's.
    """

    format: Literal["tallystick-export"] = FORMAT
    version: Literal[1] = VERSION
    origin: str
    organization: str
    filter: str
    start: int
    end: int
    size: int
    created_at: str
    keys: tuple[str, ...]
    checkpoint: str
    left: tuple[str, ...]
    right: tuple[str, ...]


class Rendering(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the file beside a proof is, and which release of Tallystick wrote it; `version` and `view` are OCSF's."""

    format: Literal["csv", "ocsf", "langfuse-jsonl", "parquet"]
    release: str
    version: str = ""
    view: str = ""


class ProofHeader(Header, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a proof: an export whose readable form is a file of its own beside it."""

    format: Literal["tallystick-proof"] = "tallystick-proof"  # pyright: ignore[reportIncompatibleVariableOverride]
    rendering: Rendering


class Trailer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last line: how many positions came in full and as bare hashes, and the hex SHA-256 of the first line.

    Of the lines between nothing needs hashing once more: the tree proves them, and each has one spelling.
    """

    events: int
    bare: int
    header_sha256: str


class Line(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A line between them: one event in full, or a run of bare leaf hashes from `position` on."""

    position: int
    event: Raw | UnsetType = UNSET
    opening: dict[str, Raw] | UnsetType = UNSET
    seed: str | dict[str, str] | UnsetType = UNSET
    leaf: Leaf | UnsetType = UNSET
    count: int | UnsetType = UNSET
    removed: bool | UnsetType = UNSET
    leaf_hashes: str | UnsetType = UNSET


class FullLine(Struct, gc=False):
    """The line of one event, ready to be encoded: readable form, opening, seed and leaf, in this order.

    The leaf comes last, where its exact bytes are found without reading the line once more: see `leaf_of`.
    """

    position: int
    event: Readable
    opening: Mapping[str, Raw] | Raw
    seed: str | Mapping[str, str] | Raw
    leaf: Leaf | Raw


class ProofLine(Struct, gc=False):
    """The line of one event in a proof: as in an export, without the readable form."""

    position: int
    opening: Mapping[str, Raw] | Raw
    seed: str | Mapping[str, str] | Raw
    leaf: Leaf | Raw


class RecordLine(Struct, forbid_unknown_fields=True, gc=False):
    """A record that accounts for what is gone, where an export does not hold it as an event of its own."""

    record: int
    opening: Raw
    seed: str | dict[str, str]
    proof: tuple[str, ...]
    leaf: Raw


LEAF_KEY: Final = b',"leaf":{'
LEAF_AT: Final = len(LEAF_KEY) - 1
_SEED_AND_KEY: Final = len(b',"seed":""') + 2 * SEED_BYTES + len(b',"leaf":')


def leaf_of(line: bytes) -> bytes:
    """Return the bytes of the leaf of an encoded `FullLine`: a leaf has no key "leaf", and its texts are escaped."""
    return line[line.rindex(LEAF_KEY) + LEAF_AT : -1]


_encode = msgspec.json.Encoder().encode
_header = msgspec.json.Decoder(Header)
_proof_header = msgspec.json.Decoder(ProofHeader)
_trailer = msgspec.json.Decoder(Trailer)
_record = msgspec.json.Decoder(RecordLine)


def header_line(header: Header) -> bytes:
    """Return the first line, newline included."""
    return _encode(header) + b"\n"


def trailer_line(trailer: Trailer) -> bytes:
    """Return the last line, newline included."""
    return _encode(trailer) + b"\n"


def full_line(position: int, organization: str, leaf: bytes, opening: bytes, seed: bytes) -> bytes:
    """Return the line of one event, as the log stores it, with its readable form.

    `seed` is the 16 bytes of the row, or what erasure put in their place, a JSON object. Raises Tampered when
    the stored bytes are not a leaf and an opening.
    """
    try:
        event = readable(read_leaf(leaf), read_opening(opening), position, organization)
    except (msgspec.MsgspecError, IndexError, UnicodeError) as error:
        raise Tampered(
            f"the stored event at position {position} cannot be read: {error}", rule="row"
        ) from None
    shown = seed.hex() if len(seed) == SEED_BYTES else Raw(seed)
    return _encode(FullLine(position, event, Raw(opening), shown, Raw(leaf))) + b"\n"


def proof_line(position: int, leaf: bytes, opening: bytes, seed: bytes) -> bytes:
    """Return the line of one event in a proof, as the log stores it; see `full_line`."""
    shown = b'"%b"' % seed.hex().encode() if len(seed) == SEED_BYTES else seed
    return b'{"position":%d,"opening":%b,"seed":%b,"leaf":%b}\n' % (position, opening, shown, leaf)


def opening_of(line: bytes, position: int, leaf_at: int) -> bytes:
    """Return the bytes of the opening of an encoded `ProofLine` with a whole seed, whose leaf begins at `leaf_at`."""
    return line[len(b'{"position":%d,"opening":' % position) : leaf_at - _SEED_AND_KEY]


def bare_line(position: int, leaf_hashes: Sequence[bytes], *, removed: bool = False) -> bytes:
    """Return the line of a run of bare leaf hashes, 1 to 256 of them; `removed` says that the events are gone."""
    joined = encode_base64(b"".join(leaf_hashes)).encode()
    mark = b',"removed":true' if removed else b""
    return b'{"position":%d,"count":%d%b,"leaf_hashes":"%b"}\n' % (position, len(leaf_hashes), mark, joined)


def record_line(position: int, leaf: bytes, opening: bytes, seed: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the line of a record that accounts for what is gone, with its inclusion proof, from leaf to root.

    `opening` and `seed` may withhold values, as erasure would have them; the record itself is in `metadata`.
    """
    return (
        _encode(
            RecordLine(
                position,
                Raw(opening),
                seed.hex() if len(seed) == SEED_BYTES else msgspec.json.decode(seed, type=dict[str, str]),
                tuple(map(encode_base64, proof)),
                Raw(leaf),
            )
        )
        + b"\n"
    )


def read_record_line(raw: bytes) -> RecordLine:
    """Read the line of a record; raises Refused when it is not one, or not spelled as Tallystick spells it."""
    try:
        line = _record.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(f"the line of a record cannot be read: {error}", rule="line") from None
    if _encode(line) != raw:
        raise Refused("the line of a record is not spelled as Tallystick spells it", rule="line")
    return line


def read_header(line: bytes) -> Header:
    """Read the first line; raises Refused when it is not one, or not spelled as `header_line` spells it."""
    decoder = _proof_header if line.startswith(PROOF_START) else _header
    try:
        header = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(f"the header cannot be read: {error}", rule="header") from None
    if header_line(header) != line:
        raise Refused("the header is not spelled as Tallystick spells it", rule="header")
    if not 0 <= header.start <= header.end <= header.size:
        raise Refused("the header's positions are not 0 <= start <= end <= size", rule="header")
    return header


def read_trailer(line: bytes) -> Trailer:
    """Read the last line; raises Refused when it is not one, or not spelled as `trailer_line` spells it."""
    try:
        trailer = _trailer.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(f"the last line is not a trailer: {error}", rule="trailer") from None
    if trailer_line(trailer) != line:
        raise Refused("the trailer is not spelled as Tallystick spells it", rule="trailer")
    return trailer


def read_hashes(encoded: Sequence[str]) -> tuple[bytes, ...]:
    """Decode the base64 hashes of the header; raises Refused unless each is 32 bytes."""
    hashes = tuple(decode_base64(one) or b"" for one in encoded)
    if any(len(one) != HASH_BYTES for one in hashes):
        raise Refused("a hash in the header is not 32 bytes in base64", rule="header")
    return hashes


def read_bare(line: Line) -> tuple[bytes, ...]:
    """Return the leaf hashes of a bare line; raises Refused when it does not hold what it says."""
    joined = decode_base64(line.leaf_hashes) if isinstance(line.leaf_hashes, str) else None
    if not joined or len(joined) % HASH_BYTES or not 0 < len(joined) <= BARE_MAX * HASH_BYTES:
        raise Refused(f"a line of bare hashes holds not 1 to {BARE_MAX} hashes of 32 bytes", rule="line")
    return split_hashes(joined)

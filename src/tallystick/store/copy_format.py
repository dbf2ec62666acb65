"""Rows of audit_logs in PostgreSQL's binary COPY format, at half the cost of the driver's general encoder.

Source: PostgreSQL documentation, COPY, "Binary Format": each value is its length in four bytes and its send form.
A test reads back what was written and holds it equal to what the driver writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Final
from uuid import UUID

ROW_COLUMNS: Final = (
    *("occurred_at", "id", "actor_ref", "actor_type", "action", "verb", "outcome", "stream", "workspace"),
    *("target_type", "target_id", "more_targets", "ip", "request_id", "leaf_hash", "seed", "leaf", "opening"),
)
COPY_COLUMNS: Final = ("organization_id", "received_at", "position", *ROW_COLUMNS)
# One event as audit_logs holds it, in the order of ROW_COLUMNS: all that does not depend on its place in the log.
Row = tuple[
    datetime, UUID, UUID, str, str, str, str, str, str, str, str, tuple[str, ...], str, str, bytes, bytes, bytes, bytes
]  # fmt: skip

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # signature, flags, no extension
_TRAILER: Final = b"\xff\xff"
_length: Final = Struct(">i").pack
_eight: Final = Struct(">iq").pack
_array: Final = Struct(">iiiii").pack
_UUID: Final = _length(16)
_TEXT: Final = 25  # pg_type's oid of text
_EMPTY_ARRAY: Final = Struct(">iiii").pack(12, 0, 0, _TEXT)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_WORDS_MAX: Final = 4096
_words: dict[str, bytes] = {}  # texts that come again and again, behind their lengths


def copy_rows(organization_id: UUID, received_at: datetime, first: int, rows: Sequence[Row]) -> bytes:
    """Return the whole input of a COPY of `rows`, at positions `first` and on, in the order of COPY_COLUMNS."""
    if len(_words) > _WORDS_MAX:
        _words.clear()
    columns = len(COPY_COLUMNS).to_bytes(2, "big")
    start = columns + _UUID + organization_id.bytes + _eight(8, _microseconds(received_at))
    pieces = [_HEADER]
    for position, row in enumerate(rows, first):
        pieces += (start, _eight(8, position))
        pieces += _values(row)
    pieces.append(_TRAILER)
    return b"".join(pieces)


def _values(row: Row) -> tuple[bytes, ...]:
    # Spelled out column by column: a loop over encoders would cost as much as the driver's.
    (
        occurred_at, id, ref, actor_type, action, verb, outcome, stream, workspace, target_type, target_id,
        more_targets, ip, request_id, leaf_hash, seed, leaf, opening,
    ) = row  # fmt: skip
    target, address, request = target_id.encode(), ip.encode(), request_id.encode()
    return (
        _eight(8, _microseconds(occurred_at)), _UUID, id.bytes, _UUID, ref.bytes,
        _words.get(actor_type) or _word(actor_type), _words.get(action) or _word(action),
        _words.get(verb) or _word(verb), _words.get(outcome) or _word(outcome),
        _words.get(stream) or _word(stream), _words.get(workspace) or _word(workspace),
        _words.get(target_type) or _word(target_type), _length(len(target)), target,
        _texts(more_targets) if more_targets else _EMPTY_ARRAY,
        _length(len(address)), address, _length(len(request)), request,
        _length(len(leaf_hash)), leaf_hash, _length(len(seed)), seed,
        _length(len(leaf)), leaf, _length(len(opening)), opening,
    )  # fmt: skip


def _microseconds(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _word(text: str) -> bytes:
    encoded = text.encode()
    _words[text] = found = _length(len(encoded)) + encoded
    return found


def _texts(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    items = b"".join([_length(len(item)) + item for item in encoded])
    array = _array(1, 0, _TEXT, len(encoded), 1) + items
    return _length(len(array)) + array

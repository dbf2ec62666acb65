"""Cursors: where a page ended, signed, so that nobody can make one up or carry it to another search.

A cursor says where to go on, never what may be seen: authority comes from the credential alone.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from msgspec import Struct

from tallystick.errors import Refused
from tallystick.query.model import Query, filters_of
from tallystick.query.parse import format

_VERSION = 1
_TAG_BYTES = 16


class Place(Struct, frozen=True, array_like=True):
    """Where a page ended: after the event or the scanned row at (`occurred_at`, `position`).

    `size` is the size of the log when the first page was asked for: later rows do not shift the pages. `since`
    is the start of a relative range at that moment.
    """

    occurred_at: datetime
    position: int
    size: int
    since: datetime | None = None


class _Signed(Struct, frozen=True, array_like=True):
    version: int
    fingerprint: bytes
    place: Place


def write_cursor(place: Place, query: Query, *, scope: str, key: bytes) -> str:
    """Return the cursor that continues `query` at `place`.

    `scope` says whose log and which part of it the page was made from; the cursor is refused in any other.
    """
    body = msgspec.msgpack.encode(_Signed(_VERSION, _fingerprint(query, scope), place))
    return urlsafe_b64encode(_tag(body, key) + body).rstrip(b"=").decode()


def read_cursor(query: Query, *, scope: str, key: bytes) -> Place:
    """Return the place that the cursor of `query` stands for.

    Raises Refused for a cursor that is damaged, made by another server, or of another search.
    """
    text = query.cursor or ""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, _tag(body, key)):
            raise ValueError("tag")
        signed = msgspec.msgpack.decode(body, type=_Signed)
    except (NotBase64, ValueError, msgspec.DecodeError):
        raise _refused("this is no cursor of this server") from None
    if signed.version != _VERSION or signed.fingerprint != _fingerprint(query, scope):
        raise _refused("this cursor belongs to a search with other filters, another order or another log")
    place = signed.place
    return Place(
        place.occurred_at.astimezone(UTC), place.position, place.size,
        None if place.since is None else place.since.astimezone(UTC),
    )  # fmt: skip


def _fingerprint(query: Query, scope: str) -> bytes:
    # A relative range is told by its name: its start moves between two pages, and the cursor keeps the first one.
    return sha256(f"{scope}\n{query.order}\n{format(filters_of(query))}".encode()).digest()[:16]


def _tag(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"tallystick/cursor/1\0" + body, sha256).digest()[:_TAG_BYTES]


def _refused(why: str) -> Refused:
    return Refused(
        f"cursor: {why}. Ask for the first page again, without a cursor.", path="/cursor", rule="cursor"
    )

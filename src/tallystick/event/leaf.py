"""The leaf: what of an event lies in the log in clear, and the sealed values that travel beside it.

The leaf is canonical JSON. Its structs declare their fields in the order RFC 8785 sorts them, so that
writing them needs no sorting. Layout pinned by tests/golden/leaf.
Source: docs/reference/event.md ("The leaf"), RFC 8785 (bytes), RFC 6962 section 2.1 (hash).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tallystick.errors import Tampered

VERSION: Final = 1
ERASED: Final = "$erased"  # reserved key of an opening: path → commit of a value that was erased
REST: Final = "targets/rest"


class _Part(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    pass


class LeafRoles(_Part, frozen=True):
    organization: str | None = None
    workspace: str | None = None


class LeafDelegator(_Part, frozen=True, kw_only=True):
    credential_id: str | None = None
    ref: str
    roles: LeafRoles | None = None
    type: str


class LeafActor(_Part, frozen=True):
    """An actor without anything that tells who it is: `ref` is the pseudonym, 32 hexadecimal digits."""

    credential_id: str | None = None
    on_behalf_of: tuple[LeafDelegator, ...] = ()
    ref: str = ""
    roles: LeafRoles | None = None
    type: str = ""


class LeafTarget(_Part, frozen=True):
    id: str
    type: str


class LeafSpan(_Part, frozen=True):
    first: int
    last: int


class LeafProducer(_Part, frozen=True, kw_only=True):
    epoch: str
    id: str
    sequence: int
    unsent: tuple[LeafSpan, ...] = ()


class Leaf(_Part, frozen=True, kw_only=True):
    """What the log holds of one event in clear; times are RFC 3339 UTC with six digits."""

    action: str
    actor: LeafActor
    id: str
    occurred_at: str
    origin: str
    outcome: str
    producer: LeafProducer | None = None
    received_at: str
    request_id: str | None = None
    sealed: str
    source: str
    stream: str
    targets: tuple[LeafTarget, ...] = ()
    v: int
    workspace: str | None = None


write_leaf = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Leaf).decode
_read_opening = msgspec.json.Decoder(dict[str, Any]).decode
_read_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_leaf(leaf: bytes) -> Leaf:
    """Return the parsed leaf; raises Tampered when it is no leaf of a version known here."""
    try:
        parsed = _read(leaf)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered(f"the stored leaf cannot be read: {error}", rule="leaf") from None
    if parsed.v != VERSION:
        raise Tampered(f"the stored leaf has version {parsed.v}, this release reads {VERSION}", rule="leaf")
    return parsed


def read_opening(opening: bytes) -> dict[str, Any]:
    """Return the sealed values by path; raises Tampered when `opening` is no JSON object."""
    try:
        return _read_opening(opening)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered(f"the stored opening cannot be read: {error}", rule="opening") from None


def read_values(opening: bytes) -> dict[str, msgspec.Raw]:
    """Return each sealed value, unread, by path; raises Tampered when `opening` is no JSON object."""
    try:
        return _read_values(opening)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered(f"the stored opening cannot be read: {error}", rule="opening") from None


class SealedPath(NamedTuple):
    """The path of a sealed value in the three forms that sealing needs, made once."""

    raw: bytes  # as hashed into the salt and sorted by
    framed: bytes  # behind its length, as hashed into the commit
    key: bytes  # as a key of the opening, with its colon


class _SealedPaths(dict[str, SealedPath]):
    """The paths seen so far; a plain lookup is half the price of a cached call, and there are nine an event."""

    def __missing__(self, path: str) -> SealedPath:
        raw = path.encode()
        if len(raw) > _PATH_BYTES_MAX:
            raise Tampered("the path of a sealed value is too long", rule="opening")
        made = SealedPath(raw=raw, framed=len(raw).to_bytes(2, "big") + raw, key=write_leaf(path) + b":")
        if len(self) >= _PATHS_KEPT_MAX:
            self.clear()
        self[path] = made
        return made


_PATH_BYTES_MAX: Final = 65_535  # its length is hashed as a 16-bit number
_PATHS_KEPT_MAX: Final = 4096
SEALED_PATHS: Final = _SealedPaths()


def sealed_path(path: str) -> SealedPath:
    """Return the prepared form of `path`; raises Tampered when it is longer than 65,535 bytes."""
    return SEALED_PATHS[path]

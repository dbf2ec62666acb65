"""Sealing: the leaf of an event, the salted digest that binds its hidden values, and checking both again.

    salt_p   = SHA-256("tallystick/salt/1\\0"   || seed || p)[:16]
    commit_p = SHA-256("tallystick/field/1\\0"  || salt_p || u16be(len p) || p || JCS(value))
    sealed   = SHA-256("tallystick/sealed/1\\0" || commit_p1 || … || commit_pk)       paths in byte order
    leaf     = JCS(clear parts, plus "sealed": base64url(sealed))
    leaf_hash= SHA-256(0x00 || leaf)                                                  RFC 6962

A sealed value can be erased later (its salt and value go, its commit stays) and every proof still holds.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.event.leaf import (
    VERSION,
    Leaf,
    LeafActor,
    LeafDelegator,
    SealedPath,
    sealed_path,
    write_leaf,
)
from tallystick.event.model import Flag
from tallystick.event.moment import doubt_about, instant_text
from tallystick.event.prepared import Prepared

SEED_BYTES: Final = 16
SALT_DOMAIN: Final = b"tallystick/salt/1\0"
FIELD_DOMAIN: Final = b"tallystick/field/1\0"
_SEALED: Final = b"tallystick/sealed/1\0"
SALT_BYTES: Final = 16
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_FLAGS: Final = sealed_path("flags")
_REDACTED: Final = sealed_path("redacted")
_write_flags = msgspec.json.Encoder(order="sorted").encode
_received_text = lru_cache(maxsize=64)(instant_text)  # a batch has one time of receipt


class Sealed(Struct, frozen=True, kw_only=True, gc=False):
    """What is stored of an event: `leaf` goes into the log, `opening` and `seed` lie beside it."""

    leaf: bytes
    leaf_hash: bytes
    opening: bytes
    seed: bytes
    occurred_at: datetime


def seal(
    prepared: Prepared, *, origin: str, source: str, received_at: datetime, refs: Sequence[UUID], seed: bytes
) -> Sealed:
    """Return the sealed form of `prepared` in the log named `origin`.

    `source` says which key or ingestion source brought it, `refs` are the pseudonyms of
    `prepared.subjects` in the same order, `seed` is 16 random bytes used for no other event.
    """
    if len(refs) != len(prepared.subjects) or len(seed) != SEED_BYTES:
        raise ValueError("sealing needs one ref for each subject and a seed of 16 bytes")
    occurred_at = prepared.occurred_at
    flags = prepared.flags
    if occurred_at is None:
        occurred_at = received_at
    elif doubt := doubt_about(occurred_at, received_at):
        flags = (*flags, Flag(path="/occurred_at", kind=doubt))
    values = prepared.sealed
    if flags or prepared.redacted:
        values = _with_notes(values, flags, prepared.redacted)
    received_text = _received_text(received_at)
    leaf = write_leaf(
        Leaf(
            action=prepared.action,
            actor=LeafActor(
                credential_id=prepared.credential_id,
                on_behalf_of=_with_refs(prepared.delegators, refs) if prepared.delegators else (),
                ref=refs[0].hex,
                roles=prepared.roles,
                type=prepared.actor_type,
            ),
            id=prepared.id_text,
            occurred_at=prepared.occurred_text or received_text,
            origin=origin,
            outcome=prepared.outcome,
            producer=prepared.producer,
            received_at=received_text,
            request_id=prepared.clear_request_id,
            sealed=digest_of(_commits(values, seed)),
            source=source,
            stream=prepared.stream,
            targets=prepared.targets,
            v=VERSION,
            workspace=prepared.clear_workspace,
        )
    )
    return Sealed(
        leaf=leaf,
        leaf_hash=sha256(b"\0" + leaf).digest(),
        opening=b"{" + b",".join([key + value for (_, _, key), value in values]) + b"}",
        seed=seed,
        occurred_at=occurred_at,
    )


def _with_notes(
    values: list[tuple[SealedPath, bytes]], flags: tuple[Flag, ...], redacted: tuple[str, ...]
) -> list[tuple[SealedPath, bytes]]:
    values = list(values)
    if flags:
        values.append((_FLAGS, _write_flags(flags)))
    if redacted:
        values.append((_REDACTED, write_leaf(redacted)))
    return sorted(values, key=_by_path)


def _by_path(item: tuple[SealedPath, bytes]) -> bytes:
    return item[0].raw


def _with_refs(delegators: tuple[LeafDelegator, ...], refs: Sequence[UUID]) -> tuple[LeafDelegator, ...]:
    return tuple(
        msgspec.structs.replace(link, ref=ref.hex) for link, ref in zip(delegators, refs[1:], strict=True)
    )


def _commits(values: list[tuple[SealedPath, bytes]], seed: bytes) -> list[bytes]:
    """Return the commit of each value under a seed, in the order given."""
    # One expression with everything inlined: this is half of what sealing costs.
    salting = SALT_DOMAIN + seed
    return [
        sha256(FIELD_DOMAIN + sha256(salting + raw).digest()[:SALT_BYTES] + framed + value).digest()
        for (raw, framed, _), value in values
    ]


def salt_of(path: SealedPath, seed: bytes) -> bytes:
    """Return the 16 bytes that salt the value at `path`."""
    return sha256(SALT_DOMAIN + seed + path.raw).digest()[:SALT_BYTES]


def salted_commit(salt: bytes, path: SealedPath, value: bytes) -> bytes:
    """Return the commit of a value under its salt, 32 bytes."""
    return sha256(FIELD_DOMAIN + salt + path.framed + value).digest()


def digest_of(commits: list[bytes]) -> str:
    """Return the sealed digest over `commits` as the leaf writes it."""
    return base64url(sha256(_SEALED + b"".join(commits)).digest())


def base64url(value: bytes) -> str:
    """Return `value` as base64url without padding (RFC 4648 section 5)."""
    return b2a_base64(value, newline=False).translate(_URL_SAFE, b"=").decode("ascii")

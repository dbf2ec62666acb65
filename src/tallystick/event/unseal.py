"""Checking what was sealed: does a stored row still say what its leaf was hashed from?"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Raw

from tallystick.errors import Tampered
from tallystick.event.canonical import canonical
from tallystick.event.leaf import ERASED, SEALED_PATHS, read_leaf, read_values, sealed_path, write_leaf
from tallystick.event.moment import read_instant
from tallystick.event.prepared import Prepared
from tallystick.event.seal import (
    FIELD_DOMAIN,
    SALT_BYTES,
    SALT_DOMAIN,
    SEED_BYTES,
    base64url,
    digest_of,
    salt_of,
    salted_commit,
    seal,
)

_read_texts = msgspec.json.Decoder(dict[str, str]).decode
_COMMIT_BYTES: Final = 32


def unseal(leaf: bytes, opening: bytes, seed: bytes) -> None:
    """Return when `leaf` is canonical and its digest is that of the values in `opening` under `seed`.

    `seed` is 16 bytes, or after erasure JSON of the salts that are left, by path, in base64url; then
    `opening` carries the commits of the erased values under `$erased`. Raises Tampered otherwise.
    """
    parsed = read_leaf(leaf)
    if write_leaf(parsed) != leaf:
        raise Tampered("the leaf is not in canonical form", rule="leaf")
    values = read_values(opening)
    if (len(seed) == SEED_BYTES) == (ERASED in values):
        raise Tampered("erased values and what is left of the seed do not belong together", rule="seed")
    if ERASED in values:
        commits = _remaining_commits(opening, seed)
    else:
        commits = _whole_commits(values, opening, seed)
    if digest_of(commits) != parsed.sealed:
        raise Tampered("the sealed values are not those the leaf was made from", rule="sealed")


def _whole_commits(values: dict[str, Raw], opening: bytes, seed: bytes) -> list[bytes]:
    """Return the commits of all values under the seed; raises Tampered unless `opening` is written plainly.

    It may hold no byte beyond those of paths, values and marks. With the order of the paths, on which the
    digest depends, that leaves one opening for these values, without the price of writing it again.
    """
    salting = SALT_DOMAIN + seed
    commits: list[bytes] = []
    size = 1
    for path, value in values.items():
        raw, framed, key = SEALED_PATHS[path]
        written = bytes(value)
        size += len(key) + len(written) + 1
        salt = sha256(salting + raw).digest()[:SALT_BYTES]
        commits.append(sha256(FIELD_DOMAIN + salt + framed + written).digest())
    if max(size, 2) != len(opening):
        raise Tampered("the opening is not in canonical form", rule="opening")
    return commits


def same_content(prepared: Prepared, *, leaf: bytes, opening: bytes, seed: bytes) -> bool:
    """Tell whether `prepared` is the event stored as `leaf`, `opening`, `seed`: a retry, not another event.

    It is sealed again with the stored row's origin, source, time of receipt, refs and seed. Of a row of
    which something was erased only what is left can be compared: the clear parts and the other values.
    Raises Tampered when the stored row cannot be read.
    """
    stored = read_leaf(leaf)
    refs = [UUID(stored.actor.ref), *(UUID(link.ref) for link in stored.actor.on_behalf_of)]
    if len(refs) != len(prepared.subjects):
        return False
    whole = len(seed) == SEED_BYTES
    again = seal(
        # Recorded twice under one id, an event has two numbers; it is the same event all the same.
        msgspec.structs.replace(prepared, producer=stored.producer),
        origin=stored.origin,
        source=stored.source,
        received_at=read_instant(stored.received_at)[0],
        refs=refs,
        seed=seed if whole else bytes(SEED_BYTES),
    )
    if whole:
        return again.leaf == leaf
    if msgspec.structs.replace(read_leaf(again.leaf), sealed="") != msgspec.structs.replace(
        stored, sealed=""
    ):
        return False
    left, sent = _values(opening), _values(again.opening)
    erased = set(_erased(left.pop(ERASED, None)))
    return left == {path: value for path, value in sent.items() if path not in erased}


def erase(opening: bytes, seed: bytes, paths: set[str]) -> tuple[bytes, bytes]:
    """Return the opening and seed that are left when the values at `paths` (sealed paths) are erased.

    Of each erased value the commit stays, so that the leaf's digest can still be checked; its salt and the
    seed go, so that nothing can be guessed back. Paths that hold no value change nothing.
    Raises Tampered when the stored row cannot be read.
    """
    values = _values(opening)
    gone = _erased(values.pop(ERASED, None))
    salts = _salts(values, seed)
    for path in paths & values.keys():
        gone[path] = salted_commit(salts.pop(path), sealed_path(path), values.pop(path))
    if not gone:
        return opening, seed
    values[ERASED] = canonical({path: base64url(commit) for path, commit in gone.items()})
    return _rejoined(values), canonical({path: base64url(salt) for path, salt in salts.items()})


def withhold(opening: bytes, seed: bytes, *, but: frozenset[str]) -> tuple[bytes, bytes]:
    """Return opening and seed that show nothing but the values at the paths `but`, and still prove them.

    Raises Tampered when the stored row cannot be read.
    """
    return erase(opening, seed, set(_values(opening)) - but - {ERASED})


def _values(opening: bytes) -> dict[str, bytes]:
    """Return the bytes of each value by path; raises Tampered unless `opening` is in canonical form."""
    values = {path: bytes(value) for path, value in read_values(opening).items()}
    if _rejoined(values) != opening:
        raise Tampered("the opening is not in canonical form", rule="opening")
    return values


def _rejoined(values: dict[str, bytes]) -> bytes:
    """Return the one opening that holds `values`: paths in order, nothing between the parts."""
    return b"{" + b",".join([sealed_path(path).key + values[path] for path in sorted(values)]) + b"}"


def _erased(written: bytes | None) -> dict[str, bytes]:
    """Return the commits of erased values by path."""
    return {} if written is None else _read_bytes(written, _COMMIT_BYTES, "opening")


def _salts(values: dict[str, bytes], seed: bytes) -> dict[str, bytes]:
    """Return the salt of each value, derived from the seed or read from what erasure left of it."""
    if len(seed) == SEED_BYTES:
        return {path: salt_of(sealed_path(path), seed) for path in values}
    salts = _read_bytes(seed, SALT_BYTES, "seed")
    if salts.keys() != values.keys():
        raise Tampered("the salts that are left are not those of the values that are left", rule="seed")
    return salts


def _remaining_commits(opening: bytes, seed: bytes) -> list[bytes]:
    """Return the commits of erased and remaining values in the order of their paths."""
    values = _values(opening)
    commits = _erased(values.pop(ERASED, None))
    if not commits or commits.keys() & values.keys():
        raise Tampered("a value is both erased and present, or nothing is erased", rule="opening")
    for path, salt in _salts(values, seed).items():
        commits[path] = salted_commit(salt, sealed_path(path), values[path])
    return [commits[path] for path in sorted(commits)]


def _read_bytes(written: bytes, size: int, what: str) -> dict[str, bytes]:
    """Return the byte strings of `size` by path in canonical JSON; raises Tampered for anything else."""
    try:
        texts = _read_texts(written)
        result = {path: urlsafe_b64decode(text + "=" * (-len(text) % 4)) for path, text in texts.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Tampered(f"the {what} of an erased row cannot be read: {error}", rule=what) from None
    if canonical({path: base64url(value) for path, value in result.items()}) != written:
        raise Tampered(f"the {what} of an erased row is not in canonical form", rule=what)
    if any(len(value) != size for value in result.values()):
        raise Tampered(f"the {what} of an erased row holds a value that is not {size} bytes long", rule=what)
    return result

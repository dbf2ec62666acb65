"""RFC 6962 word for word, slow and recursive: the yardstick the fast code is held to."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf(number: int) -> bytes:
    """A leaf hash that differs for every number."""
    return sha256(b"\x00leaf %d" % number).digest()


def leaves(size: int) -> list[bytes]:
    return [leaf(number) for number in range(size)]


def split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """MTH of section 2.1 over leaf hashes."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    at = split(len(hashes))
    return sha256(b"\x01" + tree_hash(hashes[:at]) + tree_hash(hashes[at:])).digest()


def path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(hashes) == 1:
        return []
    at = split(len(hashes))
    if index < at:
        return [*path(index, hashes[:at]), tree_hash(hashes[at:])]
    return [*path(index - at, hashes[at:]), tree_hash(hashes[:at])]


def consistency(old: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PROOF of section 2.1.2."""
    return _subproof(old, hashes, True) if 0 < old < len(hashes) else []


def _subproof(old: int, hashes: Sequence[bytes], whole: bool) -> list[bytes]:
    if old == len(hashes):
        return [] if whole else [tree_hash(hashes)]
    at = split(len(hashes))
    if old <= at:
        return [*_subproof(old, hashes[:at], whole), tree_hash(hashes[at:])]
    return [*_subproof(old - at, hashes[at:], False), tree_hash(hashes[:at])]


def tiles(hashes: Sequence[bytes]) -> dict[str, bytes]:
    """Every tile of c2sp.org/tlog-tiles by its formula: MTH(D[(n*256+i) * 256**l : (n*256+i+1) * 256**l])."""
    found: dict[str, bytes] = {}
    level, row = 0, list(hashes)
    while row:
        for start in range(0, len(row), 256):
            chunk = row[start : start + 256]
            name = f"tile/{level}/{start // 256:03}" + ("" if len(chunk) == 256 else f".p/{len(chunk)}")
            found[name] = b"".join(chunk)
        row = [tree_hash(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
        level += 1
    return found

"""The digest that binds sealed values to their leaf, computed from the JSON bytes they travel as."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Raw

SALT: Final = b"tallystick/salt/1\0"
FIELD: Final = b"tallystick/field/1\0"
SEALED: Final = b"tallystick/sealed/1\0"
SALT_BYTES: Final = 16
SEED_BYTES: Final = 16
PATHS_REMEMBERED_MAX: Final = 4096


_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")

# Decodes an opening into its paths, each with the JSON bytes of its value.
read_opening = msgspec.json.Decoder(dict[str, Raw]).decode


class _Paths(dict[str, tuple[bytes, bytes]]):
    """Remembers, for each path, its bytes and its bytes after their length as a 16-bit number."""

    def __missing__(self, path: str) -> tuple[bytes, bytes]:
        if len(self) >= PATHS_REMEMBERED_MAX:
            self.clear()
        encoded = path.encode()
        made = self[path] = (encoded, len(encoded).to_bytes(2, "big") + encoded)
        return made


_PATHS = _Paths()


def sealed_digest(opening: Mapping[str, Raw], seed: bytes) -> str:
    """Return `sealed` as the leaf must have it: base64url over the commitments, in the opening's order.

    The opening stands in byte order of its paths; in any other order the digest differs. `seed` is 16 bytes.
    """
    salting = SALT + seed
    commits = [
        sha256(FIELD + sha256(salting + path).digest()[:SALT_BYTES] + framed + value).digest()
        for (path, framed), value in zip(map(_PATHS.__getitem__, opening), opening.values(), strict=True)
    ]
    return encode_seed(sha256(SEALED + b"".join(commits)).digest())


def encode_seed(raw: bytes) -> str:
    """Return bytes as base64url without padding (RFC 4648 section 5)."""
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def decode_seed(text: str) -> bytes:
    """Return the bytes of base64url without padding; raises ValueError for any other spelling."""
    raw = a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4))
    if encode_seed(raw) != text:
        raise ValueError("not base64url in its one spelling")
    return raw

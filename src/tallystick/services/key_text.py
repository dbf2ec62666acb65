"""How keys are written: a prefix, 43 base62 digits of 256 random bits, and a CRC32 that catches slips of the hand."""

from __future__ import annotations

import hmac
import zlib

KEY_PREFIX = "tst_"
OPERATOR_PREFIX = "tso_"
KEY_LENGTH = len(KEY_PREFIX) + 43 + 6
SHOWN_CHARACTERS = 12  # by which people recognise a key
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def format_key(secret: bytes, prefix: str = KEY_PREFIX) -> str:
    """Write 32 random bytes as a key."""
    body = prefix + _base62(int.from_bytes(secret, "big"), 43)
    return body + _base62(zlib.crc32(body.encode()), 6)


def is_well_formed(key: str, prefix: str = KEY_PREFIX) -> bool:
    """Tell whether `key` has the shape and checksum of a key, before any database is asked."""
    if len(key) != KEY_LENGTH or not key.startswith(prefix) or not key.isascii():
        return False
    return hmac.compare_digest(_base62(zlib.crc32(key[:-6].encode()), 6), key[-6:])

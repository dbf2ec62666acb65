"""Ids of events: UUIDv7 (RFC 9562, 5.7), which sort by the time they were made."""

from __future__ import annotations

from uuid import UUID


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """Return the UUIDv7 of a time in milliseconds and ten random bytes."""
    return UUID(
        bytes=unix_ms.to_bytes(6, "big")
        + bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F])
        + random[3:10]
    )

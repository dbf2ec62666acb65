"""C2SP cosignature/v1: a witness's Ed25519 signature over a checkpoint and a time (c2sp.org/tlog-cosignature)."""

from __future__ import annotations

from typing import Final

SECONDS_MAX: Final = 2**63 - 1
_TIME_BYTES = 8
_ED25519_BYTES = 64


def cosigned_message(text: bytes, seconds: int) -> bytes:
    """Return what a witness signs for the checkpoint body `text` at POSIX time `seconds`."""
    return b"cosignature/v1\ntime %d\n" % seconds + text


def join_cosignature(seconds: int, signature: bytes) -> bytes:
    """Return the bytes that stand after the key id in the signature line; raises ValueError for a bad time."""
    if not 0 <= seconds <= SECONDS_MAX:
        raise ValueError(f"{seconds} is not a POSIX time between 0 and {SECONDS_MAX}")
    return seconds.to_bytes(_TIME_BYTES, "big") + signature


def split_cosignature(signature: bytes) -> tuple[int, bytes] | None:
    """Return (POSIX seconds, Ed25519 signature), or None when it has not that form.

    The time is the witness's word; take it only from a signature that `verify_note` returned.
    """
    if len(signature) != _TIME_BYTES + _ED25519_BYTES:
        return None
    seconds = int.from_bytes(signature[:_TIME_BYTES], "big")
    return (seconds, signature[_TIME_BYTES:]) if seconds <= SECONDS_MAX else None

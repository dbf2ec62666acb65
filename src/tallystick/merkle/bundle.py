"""C2SP tlog-tiles entry bundles: up to 256 leaves in one file, beside the level 0 tile of their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tallystick.errors import Tampered, TooLarge

ENTRY_BYTES_MAX: Final = 0xFFFF


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entries, each after its length as two bytes, big end first; raises TooLarge over 65 535 bytes."""
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise TooLarge(
                f"an entry of {len(entry)} bytes is over the limit of {ENTRY_BYTES_MAX}", rule="entry_size"
            )
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(stored: bytes, width: int) -> list[bytes]:
    """Return the `width` entries of a bundle; raises Tampered for a byte or an entry too many or too few."""
    entries: list[bytes] = []
    at = 0
    while at < len(stored):
        end = at + 2 + int.from_bytes(stored[at : at + 2], "big")
        if end > len(stored) or at + 2 > len(stored):
            raise Tampered(f"the bundle is cut off in entry {len(entries)}", rule="bundle")
        entries.append(stored[at + 2 : end])
        at = end
    if len(entries) != width:
        raise Tampered(f"the bundle has {len(entries)} entries, not {width}", rule="bundle")
    return entries

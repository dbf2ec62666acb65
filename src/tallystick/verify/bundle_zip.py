"""The one spelling of an evidence bundle's zip: entries stored as they are, in order, and nothing else.

Written and read by the same declarations (PKWARE APPNOTE 6.3.10), so that a reader rebuilds every header from name, size
and CRC-32 and compares bytes. Whatever zip files can be tricked with has no place to stand: a second entry of a name, a
directory that says something else than the entries, compression, comments, extra fields, bytes before, between or behind.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from tallystick.errors import Refused

MARK: Final = b"PK\x03\x04"
ENTRIES_MAX: Final = 16
NAME_BYTES_MAX: Final = 64
PIECE_BYTES: Final = 1 << 18
_LOCAL = Struct("<4s5H3I2H")
_ENTRY = Struct("<4s6H3I5H2I")
_END_64 = Struct("<4sQ2H2I4Q")
_LOCATOR_64 = Struct("<4sIQI")
_END = Struct("<4s4H2IH")
_NARROW: Final = 0xFFFF_FFFF  # from here on a number stands in 64 bits, apart
_WIDE = 45  # version needed for that; 20 is the plainest
_DAY_ONE: Final = 0x21  # 1 January 1980: the same question gives the same bytes
_MODE: Final = 0o100644 << 16


class Entry(NamedTuple):
    """One file of the bundle: its name, its size in bytes, its CRC-32, and where its header begins."""

    name: str
    size: int
    crc: int
    offset: int


def local_header(entry: Entry) -> bytes:
    """Return what stands before an entry's bytes."""
    wide, name = entry.size >= _NARROW, entry.name.encode()
    extra = _extra(entry.size, entry.size) if wide else b""
    size = _NARROW if wide else entry.size
    return (
        _LOCAL.pack(
            MARK, _WIDE if wide else 20, 0, 0, 0, _DAY_ONE, entry.crc, size, size, len(name), len(extra)
        )
        + name
        + extra
    )


def directory(entries: Sequence[Entry], at: int) -> bytes:
    """Return what follows the last entry: the central directory, which begins at byte `at`, and its end."""
    listed = b"".join(map(_listed, entries))
    wide = at >= _NARROW
    ends = b""
    if wide:
        count = len(entries)
        ends = _END_64.pack(b"PK\x06\x06", 44, 3 << 8 | _WIDE, _WIDE, 0, 0, count, count, len(listed), at)
        ends += _LOCATOR_64.pack(b"PK\x06\x07", 0, at + len(listed), 1)
    ends += _END.pack(
        b"PK\x05\x06", 0, 0, len(entries), len(entries), len(listed), _NARROW if wide else at, 0
    )
    return listed + ends


def _listed(entry: Entry) -> bytes:
    name = entry.name.encode()
    wide_size, wide_offset = entry.size >= _NARROW, entry.offset >= _NARROW
    wide = [*[entry.size] * 2 * wide_size, *[entry.offset] * wide_offset]
    extra = _extra(*wide) if wide else b""
    version = _WIDE if wide else 20
    size = _NARROW if wide_size else entry.size
    offset = _NARROW if wide_offset else entry.offset
    head = _ENTRY.pack(
        b"PK\x01\x02",
        3 << 8 | version,
        version,
        0,
        0,
        0,
        _DAY_ONE,
        entry.crc,
        size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        _MODE,
        offset,
    )
    return head + name + extra


def _extra(*numbers: int) -> bytes:
    return Struct(f"<2H{len(numbers)}Q").pack(1, 8 * len(numbers), *numbers)


class ZipReader:
    """Reads a bundle from its beginning to its end, once; `chunks` are its bytes in pieces of any size.

    Every method raises Refused as soon as a byte is not where the one spelling has it.
    """

    def __init__(self, chunks: Iterable[bytes], progress: Callable[[int], None] | None = None) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._progress = progress
        self._held = b""
        self._at = 0
        self.entries: list[Entry] = []

    def next(self, allowed: Sequence[str]) -> Entry | None:
        """Return the entry that begins here, None where the directory does; its name must be one of `allowed`."""
        offset = self._at
        if self._peek(4) != MARK:
            return None
        head = self._take(_LOCAL.size)
        crc, size, name_bytes, extra_bytes = (*_LOCAL.unpack(head)[6:8], *_LOCAL.unpack(head)[9:11])
        if len(self.entries) >= ENTRIES_MAX or name_bytes > NAME_BYTES_MAX or extra_bytes not in (0, 20):
            raise Refused("it has entries that no bundle has", rule="zip")
        name = self._take(name_bytes)
        extra = self._take(extra_bytes)
        if size == _NARROW:
            size = int.from_bytes(extra[4:12], "little")
        entry = Entry(name.decode("ascii", "replace"), size, crc, offset)
        if entry.name not in allowed:
            raise Refused(
                f"an entry {entry.name!a} stands where {' or '.join(allowed) or 'none'} must be",
                rule="zip",
            )
        if local_header(entry) != head + name + extra:
            raise Refused(f"the entry {entry.name} is not spelled as bundles are spelled", rule="zip")
        self.entries.append(entry)
        return entry

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of the entry that `next` returned; all must be taken before the following one."""
        left, crc = entry.size, 0
        while left:
            piece = self._take_some(min(left, PIECE_BYTES))
            left -= len(piece)
            crc = zlib.crc32(piece, crc)
            yield piece
        if crc != entry.crc:
            raise Refused(f"the bytes of {entry.name} are not those it was made of (CRC-32)", rule="zip")

    def finish(self) -> None:
        """Check that the directory mirrors the entries and that nothing follows it."""
        wanted = directory(self.entries, self._at)
        if self._take(len(wanted), exact=False) != wanted or self._peek(1):
            raise Refused("its directory does not say what stands in it, or something follows it", rule="zip")

    def _peek(self, count: int) -> bytes:
        self._fill(count)
        return self._held[:count]

    def _take(self, count: int, *, exact: bool = True) -> bytes:
        self._fill(count)
        taken, self._held = self._held[:count], self._held[count:]
        self._at += len(taken)
        if exact and len(taken) < count:
            raise Refused("it breaks off: the file was cut, or never finished", rule="truncated")
        return taken

    def _take_some(self, most: int) -> bytes:
        """Return one to `most` bytes, without joining what came apart."""
        self._fill(1)
        taken, self._held = self._held[:most], self._held[most:]
        if not taken:
            raise Refused("it breaks off: the file was cut, or never finished", rule="truncated")
        self._at += len(taken)
        if self._progress:
            self._progress(self._at)
        return taken

    def _fill(self, count: int) -> None:
        while len(self._held) < count:
            piece = next(self._chunks, None)
            if piece is None:
                return
            self._held += piece

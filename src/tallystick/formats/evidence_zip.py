"""Writes the zip of an evidence bundle: files as they are, in one spelling, so that equal contents give equal bytes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tallystick.verify.bundle_zip import PIECE_BYTES, Entry, directory, local_header


class Part(NamedTuple):
    """A file on its way into a bundle: its name, where its bytes lie, and what they come to."""

    name: str
    path: Path
    size: int
    crc: int
    sha256: str


class Spool:
    """A file of the bundle while it is written to `path`; size, CRC-32 and SHA-256 grow with it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.size = self._crc = 0
        self._sha256 = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, piece: bytes) -> None:
        """Append `piece`; raises OSError."""
        self._file.write(piece)
        self.size += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        self._sha256.update(piece)

    def close(self) -> Part:
        """Return the finished part; raises OSError."""
        self._file.close()
        return Part(self.name, self.path, self.size, self._crc, self._sha256.hexdigest())


def spooled(name: str, folder: Path, content: bytes) -> Part:
    """Write a whole file of the bundle into `folder` and return it; raises OSError."""
    spool = Spool(name, folder / name)
    spool.write(content)
    return spool.close()


def zip_size(parts: Sequence[Part]) -> int:
    """Return how many bytes the bundle of `parts` will have."""
    heads, end = _heads(parts)
    return sum(map(len, heads)) + sum(part.size for part in parts) + len(end)


def zip_pieces(parts: Sequence[Part]) -> Iterator[bytes]:
    """Yield the bytes of the bundle of `parts`, in their order; raises OSError when one cannot be read."""
    heads, end = _heads(parts)
    for head, part in zip(heads, parts, strict=True):
        yield head
        with part.path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    yield end


def _heads(parts: Sequence[Part]) -> tuple[list[bytes], bytes]:
    """Return what stands before each part, and what follows the last."""
    entries: list[Entry] = []
    heads: list[bytes] = []
    at = 0
    for part in parts:
        entries.append(Entry(part.name, part.size, part.crc, at))
        heads.append(local_header(entries[-1]))
        at += len(heads[-1]) + part.size
    return heads, directory(entries, at)

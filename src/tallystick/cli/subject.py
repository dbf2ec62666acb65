"""What `tallystick verify` is given: a file, standard input, or a rendering of events with the proof beside it."""

from __future__ import annotations

import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, NamedTuple

from tallystick import __version__
from tallystick.errors import Refused
from tallystick.formats.parquet_reading import MARK as PARQUET_MARK
from tallystick.formats.parquet_reading import ParquetSubject
from tallystick.verify.beside import Beside, OpenBeside, RenderedText
from tallystick.verify.layout import PROOF_ENDING, PROOF_START, ProofHeader

PIECE_BYTES = 1 << 18
RELEASE = __version__
Pieces = Callable[[], Iterator[bytes]]
# What zipfile raises for bytes that are no archive, an encrypted or unknown one, and one whose sizes lie.
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError)


class Subject(NamedTuple):
    """What is read, how many bytes that is, and what opens the file beside it when it is a proof."""

    open_file: Pieces
    size: int
    beside: OpenBeside | None = None


@contextmanager
def subject_of(file: str, proof: Path | None) -> Iterator[Subject]:
    """Find out what FILE is and what belongs to it.

    A Parquet file has its proof in it. The proof of `x.csv` is `proof`, or `x.csv.proof.jsonl` beside it, or both are in one archive. Raises Refused when
    there is no such file, and while it is read when an archive is broken.
    """
    with _on_disk(file) as path:
        if zipfile.is_zipfile(path):
            with _opened(path) as archive:
                yield _in_archive(archive) or _plain(path)
            return
        if _begins(path, PARQUET_MARK):
            subject = ParquetSubject(path)
            yield Subject(subject.pieces, path.stat().st_size, subject.beside)
            return
        own = path.with_name(path.name + PROOF_ENDING)
        if proof is not None or own.is_file():
            yield _pair(path, proof or own)
        elif _begins(path, PROOF_START) and path.name.endswith(PROOF_ENDING):
            rendered = path.with_name(path.name.removesuffix(PROOF_ENDING))
            yield _pair(rendered, path) if rendered.is_file() else _plain(path)
        else:
            yield _plain(path)


@contextmanager
def _on_disk(file: str) -> Iterator[Path]:
    """Give the file's path; standard input is kept in a temporary file, because some kinds are read twice."""
    if file != "-":
        path = Path(file)
        if not path.is_file():
            raise Refused(f"There is no file {file}.")
        yield path
        return
    with NamedTemporaryFile(prefix="tallystick-verify-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield Path(kept.name)


def _plain(path: Path) -> Subject:
    return Subject(_reader(path), path.stat().st_size)


def _pair(rendered: Path, proof: Path) -> Subject:
    return Subject(_reader(proof), proof.stat().st_size, _beside(_reader(rendered)))


def _reader(path: Path) -> Pieces:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as stream:
            yield from _read(stream)

    return pieces


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE_BYTES):
        yield piece


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(start)) == start


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN_ARCHIVE as error:
        raise Refused(f"{path} is an archive that cannot be read: {error}") from None
    with archive:
        yield archive


def _in_archive(archive: zipfile.ZipFile) -> Subject | None:
    """Return the file and its proof, None when these are not all that is in it."""
    names = archive.namelist()
    proofs = [name for name in names if name.endswith(PROOF_ENDING)]
    if len(proofs) != 1 or sorted(names) != sorted([proofs[0].removesuffix(PROOF_ENDING), proofs[0]]):
        return None
    size = archive.getinfo(proofs[0]).file_size
    rendered = _beside(_member(archive, proofs[0].removesuffix(PROOF_ENDING)))
    return Subject(_member(archive, proofs[0]), size, rendered)


def _member(archive: zipfile.ZipFile, name: str) -> Pieces:
    def pieces() -> Iterator[bytes]:
        try:
            with archive.open(name) as stream:
                yield from _read(stream)
        except _BROKEN_ARCHIVE as error:
            raise Refused(f"{name} cannot be read from its archive: {error}") from None

    return pieces


def _beside(pieces: Pieces) -> OpenBeside:
    """Return what compares a file with its proof, as this release renders events."""

    def open_beside(header: ProofHeader) -> Beside:
        from tallystick.services.renderings import writer_of

        writer = writer_of(header.rendering, header.origin)
        return RenderedText(pieces(), writer.head, writer.write)

    return open_beside

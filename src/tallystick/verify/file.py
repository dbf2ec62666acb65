"""Tells the kinds of files apart that can be verified, and has each verified by the room that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from tallystick.merkle.tlog_proof import HEADER
from tallystick.verify.beside import OpenBeside
from tallystick.verify.bundle import verify_bundle
from tallystick.verify.bundle_zip import MARK as BUNDLE_MARK
from tallystick.verify.dump import verify_dump
from tallystick.verify.export import Spread, verify_export
from tallystick.verify.instance import Means
from tallystick.verify.receipt import verify_receipt
from tallystick.verify.report import Report

Open = Callable[[], Iterable[bytes]]
RECEIPT_BYTES_MAX: Final = 256 << 10
_DUMP_MARK: Final = b"PostgreSQL database dump"
_SNIFFED_BYTES: Final = 4096
# How the renderings begin that prove nothing without the file beside them.
_CSV_MARK: Final = b"occurred_at,action,outcome,"
_OCSF_MARKS: Final = (b'"class_uid":', b'"metadata":{"version":"1.')


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a file is verified with: see `verify_file`."""

    open_file: Open
    means: Means
    event: bytes
    progress: Callable[[int], None] | None
    beside: OpenBeside | None
    release: str
    spread: Spread | None


class Kind(NamedTuple):
    """A kind of file: whether the first bytes of one are of it, and how it is verified."""

    is_of: Callable[[bytes], bool]
    verify: Callable[[Given], Report]


def verify_file(
    open_file: Open,
    means: Means,
    *,
    event: bytes = b"",
    progress: Callable[[int], None] | None = None,
    beside: OpenBeside | None = None,
    release: str = "",
    spread: Spread | None = None,
) -> Report:
    """Verify a file of any of the kinds below; `open_file` gives its bytes from the beginning, each time.

    `event` is what a receipt is for; `progress` is told how many bytes are done (a dump is read twice); `beside` opens the
    file that a proof is of, written by this `release` or another; `spread` checks an export on several cores. Never raises for anything the file holds.
    """
    given = Given(
        open_file=open_file,
        means=means,
        event=event,
        progress=progress,
        beside=beside,
        release=release,
        spread=spread,
    )
    head = _first(open_file(), _SNIFFED_BYTES)
    return next(kind.verify for kind in KINDS if kind.is_of(head))(given)


def _receipt(given: Given) -> Report:
    text = _first(given.open_file(), RECEIPT_BYTES_MAX).decode("utf-8", "replace")
    return verify_receipt(text, event=given.event, kept=given.means.kept, keys=given.means.keys)


def _bundle(given: Given) -> Report:
    return verify_bundle(given.open_file, given.means, progress=given.progress)


def _dump(given: Given) -> Report:
    return verify_dump(given.open_file, given.means, progress=given.progress)


def _export(given: Given) -> Report:
    return verify_export(
        given.open_file(), kept=given.means.kept, keys=given.means.keys, progress=given.progress,
        beside=given.beside, release=given.release, spread=given.spread,
    )  # fmt: skip


def _without_proof(given: Given) -> Report:
    return Report(
        subject="export",
        unchecked="this is a rendering of events; what proves it is a file of its own, which is not here. Give it with "
        "--proof, or export again with it: tallystick export -o FILE, or proof=zip in the API",
    )


# The first that fits; what fits none is taken for an export, which says what it lacks.
KINDS: Final = (
    Kind(lambda head: head.startswith(HEADER.encode()), _receipt),
    Kind(lambda head: head.startswith(BUNDLE_MARK), _bundle),
    Kind(lambda head: _DUMP_MARK in head, _dump),
    Kind(lambda head: head.startswith(_CSV_MARK), _without_proof),
    Kind(lambda head: all(mark in head for mark in _OCSF_MARKS), _without_proof),
    Kind(lambda head: True, _export),
)


def _first(chunks: Iterable[bytes], count: int) -> bytes:
    """Return the first `count` bytes."""
    found = b""
    pieces: Iterator[bytes] = iter(chunks)
    while len(found) < count and (piece := next(pieces, None)) is not None:
        found += piece
    return found[:count]

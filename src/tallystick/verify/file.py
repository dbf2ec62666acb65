"""Tells the kinds of files apart that can be verified, and has each verified by the room that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tallystick.merkle.tlog_proof import HEADER
from tallystick.verify.dump import verify_dump
from tallystick.verify.export import verify_export
from tallystick.verify.instance import Means
from tallystick.verify.receipt import verify_receipt
from tallystick.verify.report import Report

Open = Callable[[], Iterable[bytes]]
RECEIPT_BYTES_MAX = 256 << 10
_DUMP_MARK = b"PostgreSQL database dump"
_SNIFFED_BYTES = 4096


def verify_file(
    open_file: Open, means: Means, *, event: bytes = b"", progress: Callable[[int], None] | None = None
) -> Report:
    """Verify a receipt, a plain dump or a JSONL export; `open_file` gives its bytes from the beginning, each time.

    `event` is what a receipt is for; `progress` is told how many bytes are done (a dump is read twice). Never raises
    for anything the file holds.
    """
    head = _first(open_file(), _SNIFFED_BYTES)
    if head.startswith(HEADER.encode()):
        text = _first(open_file(), RECEIPT_BYTES_MAX).decode("utf-8", "replace")
        return verify_receipt(text, event=event, kept=means.kept, keys=means.keys)
    if _DUMP_MARK in head:
        return verify_dump(open_file, means, progress=progress)
    return verify_export(open_file(), kept=means.kept, keys=means.keys, progress=progress)


def _first(chunks: Iterable[bytes], count: int) -> bytes:
    """Return the first `count` bytes."""
    found = b""
    pieces: Iterator[bytes] = iter(chunks)
    while len(found) < count and (piece := next(pieces, None)) is not None:
        found += piece
    return found[:count]

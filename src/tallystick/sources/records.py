"""Cutting a feed into records: JSON lines, JSON documents, wrapped lists, delimited lines, gzip of any of them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from tallystick.errors import TooLarge
from tallystick.sources.mapping import Input

LINE_BYTES_MAX = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class Record(Struct, frozen=True):
    """One record of a feed: where it came from, and its value or why it could not be read."""

    line: int
    value: dict[str, Any] | None
    error: str = ""
    raw: bytes = b""


def records(stream: BinaryIO, shape: Input) -> Iterator[Record]:
    """Yield every record of a feed; one that cannot be read is yielded with its error, never skipped.

    Raises:
        TooLarge: a line over 64 MiB.
    """
    cut = _delimited if shape.format == "delimited" else _json
    for number, line in enumerate(_lines(_plain(stream)), 1):
        yield from cut(number, line, shape)


def _plain(stream: BinaryIO) -> BinaryIO:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(Any, stream))
    if buffered.peek(2)[:2] == _GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return cast(BinaryIO, buffered)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    first = True
    while line := stream.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            raise TooLarge("A line of the input is over 64 MiB; is it really JSON lines?")
        if first:
            line, first = line.removeprefix(_BOM), False
            if line.strip() in (b"{", b"["):
                # A pretty-printed document: one record, or a wrapped list of them, over many lines.
                line += stream.read(LINE_BYTES_MAX)
        yield line


def _json(number: int, line: bytes, shape: Input) -> Iterator[Record]:
    if not line.strip():
        return
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield Record(number, None, f"not JSON: {error}", line)
        return
    if shape.records is not None and isinstance(value, dict) and isinstance(value.get(shape.records), list):
        value = value[shape.records]
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield Record(
                number, item, "", line if item is value else msgspec.json.encode(item, order="sorted")
            )
        else:
            yield Record(number, None, "not a JSON object", line)


def _delimited(number: int, line: bytes, shape: Input) -> Iterator[Record]:
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    if not text:
        return
    # The last field takes the rest, so that a separator in free text does no harm.
    values = text.split(shape.separator, len(shape.fields) - 1)
    if len(values) != len(shape.fields):
        yield Record(number, None, f"{len(values)} fields where {len(shape.fields)} are expected", line)
        return
    pairs = zip(shape.fields, values, strict=True)
    yield Record(number, {name: value for name, value in pairs if value != ""}, "", line)

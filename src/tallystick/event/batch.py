"""Cutting a batch into the bytes of its events, without reading more than where each one ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from tallystick.errors import Refused, TooLarge
from tallystick.event.limits import BATCH_BYTES_MAX, BATCH_EVENTS_MAX

_COMMAS_MAX: Final = 200_000  # more of them could be as many items, each an object in memory
_LINE: Final = re.compile(rb"[^\n]+")
_STRUCTURE: Final = re.compile(rb'[\[\]{},]|"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split(body: bytes, *, ndjson: bool) -> list[bytes]:
    """Return the bytes of each event in a JSON array, or in NDJSON (one event a line, blank lines allowed).

    The events themselves are not judged here: what is wrong with one is the result of that one. Raises
    TooLarge over 1,000 events or 8 MiB, Refused when the array around the events is not JSON.
    """
    if len(body) > BATCH_BYTES_MAX:
        raise TooLarge(
            f"the batch has {len(body)} bytes, the limit is {BATCH_BYTES_MAX}; send it in parts",
            rule="batch_too_large",
        )
    events = _lines(body) if ndjson else _items(body)
    if len(events) > BATCH_EVENTS_MAX:
        raise TooLarge(
            f"the batch has {len(events)} events, the limit is {BATCH_EVENTS_MAX}; send it in parts",
            rule="too_many_events",
        )
    return events


def _lines(body: bytes) -> list[bytes]:
    # Only "\n" ends a line: other line separators of Unicode may stand in the text of an event.
    lines = (match[0].strip(b" \t\r") for match in _LINE.finditer(body))
    return list(islice((line for line in lines if line), BATCH_EVENTS_MAX + 1))


def _items(body: bytes) -> list[bytes]:
    if body.count(b",") <= _COMMAS_MAX:
        try:
            return [bytes(item) for item in _read_items(body)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # one bad event must not refuse the others: look for the commas between them
    return list(islice(_cut(body), BATCH_EVENTS_MAX + 1))


def _cut(body: bytes) -> Iterator[bytes]:
    """Yield what stands between the commas of the outermost array, whatever it is."""
    body = body.strip(b" \t\r\n")
    if not body.startswith(b"["):
        raise _broken("a batch is a JSON array of events, or NDJSON with its own content type")
    depth = 0
    start = 1
    for token in _STRUCTURE.finditer(body):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        if (mark == b"," and depth == 1) or depth == 0:
            item = body[start : token.start()].strip(b" \t\r\n")
            if not item and (depth or start > 1):
                raise _broken(f"nothing stands before byte {token.start()} of the batch")
            if item:
                yield item
            start = token.end()
        if depth == 0:
            if mark != b"]":
                raise _broken(f"byte {token.start()} closes the array with the wrong bracket")
            break
    if depth != 0 or body[start:]:
        raise _broken("the array around the events is not closed, or something follows it")


def _broken(why: str) -> Refused:
    return Refused(f"{why}; nothing of this batch was stored", rule="invalid_json")

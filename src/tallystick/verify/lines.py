"""Cutting a file that arrives in pieces into whole lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def whole_lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Regroup pieces so that each ends at the end of a line; only the last may lack its newline.

    What stays without a newline beyond `limit` bytes is handed on as it is: no honest line is that long, and
    memory has a limit.
    """
    rest = b""
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut or len(rest) + len(chunk) > limit:
            cut = cut or len(chunk)
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
    if rest:
        yield rest


def each_line(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield line by line, without newlines; see `whole_lines` for lines beyond `limit` bytes."""
    for block in whole_lines(chunks, limit):
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        yield from lines

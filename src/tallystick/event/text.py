"""Text that any database, language and JSON reader can hold, and how it is named and cut."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

_DIGEST_MARK: Final = "…sha256:"


def readable(text: str) -> str:
    """Return `text` with each lone surrogate as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut(text: str, limit: int, *, digest: bool) -> str:
    """Return the first `limit` characters; with `digest` fewer, and the SHA-256 of the whole behind them.

    With it, two long texts that begin alike stay two texts.
    """
    if not digest:
        return text[:limit]
    tail = _DIGEST_MARK + sha256(text.encode()).hexdigest()
    return text[: limit - len(tail)] + tail


def pointer_segment(key: str) -> str:
    """Return `key` as one segment of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
